"""What an item of a collection takes, by backend and kind: from what these really store.

A graph's numbers are Faiss' (faiss/impl/HNSW.h: 2·m links in the lowest layer, m in each above, of four bytes; a level
of four and an offset of eight for each) and Knowhere's hnswlib (zilliztech/knowhere, thirdparty/hnswlib/hnswlib/
hnswalg.h, `loadIndex`: a count before each list of links, a pointer, a level and a mutex for each item). An item is in
1 / (m - 1) upper layers on average, for one of m goes up from each. Lists keep an ID of eight bytes with each vector or
code (faiss/invlists/InvertedLists.h). Milvus loads a field of vectors or its index, never both
(internal/querynodev2/segments/segment_loader.go, "complement raw data for the scalar fields"), and of each row its
primary key, its time, and a pair from the one to where it is (internal/core/src/segcore/InsertRecord.h).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from pagoda.settings import CollectionConfig

_LINK, _ID, _NUMBER, _HALF = 4, 8, 4, 2
_FAISS_NODE = 4 + 8
_HNSWLIB_NODE, _HNSWLIB_COUNT = 8 + 4 + 40, 4
_MILVUS_ROW = 8 + 8 + 16
_LANES = 8
"""Faiss compares codes of a byte so many numbers at once, or else one by one: 20,000 × 64 in 0.23 ms, × 65 in 2.5."""


def code_width(dim: int) -> int:
    """Numbers of a code of a byte in process: with zeros after those of the vector, as many as are compared at once."""
    return ceil(dim / _LANES) * _LANES


@dataclass(frozen=True)
class ItemBytes:
    """Bytes an item, but for the columns that it is filtered by, which are as large as their values."""

    vectors: float
    """The vectors' own numbers, where a search goes by them."""
    index: float
    """What leads to them: links, or codes in lists."""
    ids: float
    mapped: float = 0.0
    """In files that are mapped and read where a search scores again: a few pages a search, on the disk or in memory
    that nobody else wants."""

    @property
    def in_memory(self) -> float:
        """What must be in memory."""
        return self.vectors + self.index + self.ids


def item_bytes(backend: str, config: CollectionConfig, dim: int) -> ItemBytes:
    """What an item takes.

    Args:
        backend: Which one keeps the collection.
        config: How it is built.
        dim: Length of a vector in the collection.
    """
    here = backend == "in_process"
    vectors, listed = 0.0, 0.0
    code = code_width(dim) if here else dim
    if config.kind.startswith("IVF"):
        listed = _ID + {"IVF_SQ8": code, "IVF_PQ": config.segments}.get(config.kind, _NUMBER * dim)
    elif config.kind != "HNSW_SQ8":
        vectors = _NUMBER * dim
    codes = code if config.kind == "HNSW_SQ8" else 0
    links = _links(config.m, here) if config.kind.startswith("HNSW") else 0
    # In process, the vectors lie beside every kind; elsewhere recall has them, in two bytes a number, where it refines.
    originals = _ID + _HALF * dim if config.refine > 1 else 0.0
    return ItemBytes(
        vectors=vectors,
        index=listed + codes + links,
        ids=_ID if here else _MILVUS_ROW,
        mapped=_NUMBER * dim - vectors if here else originals,
    )


def _links(m: int, here: bool) -> float:
    count = 0 if here else _HNSWLIB_COUNT
    node = _FAISS_NODE if here else _HNSWLIB_NODE
    return 2 * m * _LINK + count + (m * _LINK + count) / (m - 1) + node


def changed_bytes(backend: str, dim: int) -> float:
    """What an item that was changed since the build takes on top: its numbers, whatever the kind."""
    return _NUMBER * dim + (2 * _ID if backend == "in_process" else _MILVUS_ROW)
