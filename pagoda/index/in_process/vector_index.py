"""Faiss indexes of vectors that are numbered from 0: built and written once, mapped by whoever searches them.

The vectors lie in a file of their own beside what leads to them, so that each can be compared, whatever the kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pagoda.index.in_process.passing import Bits, Rows
from pagoda.settings import CollectionConfig

Vectors = NDArray[np.float32]
_VECTORS, _LEADS = "vectors.faiss", "index.faiss"
_COMPARED = 50
"""Vectors that are compared one by one in the time in which a walk through a graph holds one more: at 300,000 × 64 and
m 16, 1.9 µs of walking against 0.03 to 0.04 a vector."""
_MOST_LISTS = 4
"""How many times more lists are searched under a filter, at most."""
_TRAINED_BY = 64
"""Vectors for each list that the lists' centres are found from; faiss warns below 39."""
_FEWEST = 39


class VectorIndex:
    """Vectors that are all compared, and what the other kinds are made of."""

    def __init__(self, flat: Any, index: Any) -> None:
        """Of faiss' objects: the vectors, and what leads to them."""
        # An index refers to its vectors without keeping them.
        self._flat, self._index = flat, index
        self.vectors: Vectors = np.empty((0, flat.d), np.float32)
        """[n, dim], as they lie in the file."""
        if flat.ntotal:
            self.vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(-1, flat.d)

    def plan(self, k: int, effort: int, passing: int, hidden: int = 0) -> int | None:
        """The effort that finds the best k of `passing` vectors; None where comparing them all costs no more.

        Args:
            k: Wanted.
            effort: See `CollectionConfig`: what finds them where all pass.
            passing: How many pass the filter.
            hidden: How many of these are better than what is looked for, and must not be found.
        """
        return None

    def search(self, queries: Vectors, k: int, effort: int, passing: Bits | None) -> tuple[Vectors, Rows]:
        """Look for the best k with an effort that was planned.

        Args:
            queries: [q, dim].
            k: Wanted.
            effort: Of `plan`.
            passing: What may be found. None: all.

        Returns:
            Inner products and rows, each [q, k]; -1 where nothing more was found.
        """
        selector = None if passing is None else faiss.IDSelectorBitmap(passing)
        scores, rows = self._index.search(queries, k, params=self._parameters(effort, selector))
        return scores, rows

    def compare(self, queries: Vectors, k: int, passing: Rows | Bits | None) -> tuple[Vectors, Rows]:
        """Find the best k by comparing all of them.

        Args:
            queries: [q, dim].
            k: Wanted.
            passing: What may be found, as rows or as bits; rows are read alone, so they are better where they are few.

        Returns:
            As `search`; -1 where there are no more.
        """
        selector = None
        if passing is not None:
            selector = (faiss.IDSelectorBitmap if passing.dtype == np.uint8 else faiss.IDSelectorArray)(passing)
        scores, rows = self._flat.search(queries, k, params=faiss.SearchParameters(sel=selector))
        return scores, rows

    def _parameters(self, effort: int, selector: Any) -> Any:
        return faiss.SearchParameters(sel=selector)

    def write(self, folder: Path) -> None:
        """Write its files into a folder."""
        faiss.write_index(self._flat, str(folder / _VECTORS))
        if self._index is not self._flat:
            faiss.write_index(self._index, str(folder / _LEADS), faiss.IO_FLAG_SKIP_STORAGE)


class _Graph(VectorIndex):
    """HNSW."""

    def plan(self, k: int, effort: int, passing: int, hidden: int = 0) -> int | None:
        """Of what the walk holds, those that pass must be as many as are asked for."""
        share = max(passing, 1) / self._flat.ntotal
        held = max(effort, 2 * k, ceil(max(effort, k) / share)) + ceil(hidden / share)
        return held if passing > _COMPARED * held else None

    def _parameters(self, effort: int, selector: Any) -> Any:
        return faiss.SearchParametersHNSW(efSearch=effort, sel=selector)


class _Lists(VectorIndex):
    """IVF_FLAT."""

    def plan(self, k: int, effort: int, passing: int, hidden: int = 0) -> int | None:
        """More lists where fewer of each pass."""
        lists, rows = self._index.nlist, self._flat.ntotal
        probed = ceil(effort * min(_MOST_LISTS, rows / max(passing, 1)))
        return probed if passing > rows * min(probed, lists) / lists else None

    def _parameters(self, effort: int, selector: Any) -> Any:
        return faiss.SearchParametersIVF(nprobe=effort, sel=selector)


_KINDS = {"HNSW": _Graph, "IVF_FLAT": _Lists, "FLAT": VectorIndex}


def build_index(config: CollectionConfig, dim: int, rows: int, blocks: Iterable[Vectors]) -> VectorIndex:
    """Build an index, with as many threads as there are cores.

    Args:
        config: Its kind and what it is built with.
        dim: Length of a vector.
        rows: How many vectors there are.
        blocks: They, each [n, dim].
    """
    metric = faiss.METRIC_INNER_PRODUCT
    if config.kind == "HNSW":
        index = faiss.IndexHNSWFlat(dim, config.m, metric)
        index.hnsw.efConstruction = config.ef_construction
        flat = faiss.downcast_index(index.storage)
    else:
        flat = index = faiss.IndexFlatIP(dim)
    for block in blocks:
        index.add(block)
    if config.kind == "IVF_FLAT":
        index = _lists(flat, min(config.nlist, max(1, rows // _FEWEST)))
    return _KINDS[config.kind](flat, index)


def _lists(flat: Any, count: int) -> Any:
    lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(flat.d), flat.d, count, faiss.METRIC_INNER_PRODUCT)
    vectors = VectorIndex(flat, flat).vectors
    # From all over: neighbours in the file are often alike.
    lists.train(vectors[:: max(1, len(vectors) // (_TRAINED_BY * count))])
    lists.add(vectors)
    return lists


def open_index(kind: str, folder: Path) -> VectorIndex:
    """Map what `VectorIndex.write` wrote.

    Raises:
        RuntimeError: It is not that.
    """
    flat = _mapped(folder / _VECTORS)
    if kind == "FLAT":
        return VectorIndex(flat, flat)
    index = _mapped(folder / _LEADS)
    if kind == "HNSW":
        index.storage, index.own_fields = flat, False
    return _KINDS[kind](flat, index)


def _mapped(path: Path) -> Any:
    """Vectors and links stay in the file; twelve bytes an item of a graph, and lists, are read (index_read.cpp)."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
