"""Faiss indexes of vectors that are numbered from 0: built and written once, mapped by whoever searches them.

The vectors lie in a file of their own beside what leads to them, so that each can be compared, whatever the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pagoda.index.in_process.passing import Bits, Rows
from pagoda.index.sizes import code_width
from pagoda.settings import CollectionConfig
from pagoda.settings.index import CODED, Kind

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
_CODES = 256
"""Values of a byte: as many vectors must there be for codes to be learned."""


class VectorIndex:
    """Vectors that are all compared, and what the other kinds are made of."""

    def __init__(self, kind: Kind, flat: Any, index: Any) -> None:
        """Of faiss' objects: the vectors, and what leads to them."""
        # An index refers to its vectors without keeping them.
        self.kind, self._flat, self._index = kind, flat, index
        # Made in the time in which a walk goes through four items; without a selector they are always the same.
        self._of_all = lru_cache(lambda effort: self._asked(effort, None))
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

    def search(
        self, queries: Vectors, k: int, effort: int, passing: Bits | None, refine: int = 1
    ) -> tuple[Vectors, Rows]:
        """Look for the best k with an effort that was planned.

        Args:
            queries: [q, dim].
            k: Wanted.
            effort: Of `plan`, for k times `refine`.
            passing: What may be found. None: all.
            refine: How many times k are looked for, before the vectors themselves say which are best.

        Returns:
            Inner products and rows, each [q, k]; -1 where nothing more was found.
        """
        parameters = self._of_all(effort) if passing is None else self._asked(effort, faiss.IDSelectorBitmap(passing))
        if refine == 1:
            scores, rows = self._index.search(queries, k, params=parameters)
            return scores, rows
        # It refers to the two, and is made in microseconds; places that are empty stay the last (IndexRefine.cpp).
        both = faiss.IndexRefine(self._index, self._flat)
        twice = faiss.IndexRefineSearchParameters(k_factor=refine, base_index_params=parameters)
        scores, rows = both.search(queries, k, params=twice)
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

    def _asked(self, effort: int, selector: Any) -> Any:
        found = self._parameters(effort, selector)
        filled_up = isinstance(self._index, faiss.IndexPreTransform)
        return faiss.SearchParametersPreTransform(index_params=found) if filled_up else found

    def _parameters(self, effort: int, selector: Any) -> Any:
        return faiss.SearchParameters(sel=selector)

    def write(self, folder: Path) -> None:
        """Write its files into a folder."""
        faiss.write_index(self._flat, str(folder / _VECTORS))
        if self._index is not self._flat:
            flags = faiss.IO_FLAG_SKIP_STORAGE if self.kind == "HNSW" else 0
            faiss.write_index(self._index, str(folder / _LEADS), flags)


class _Graph(VectorIndex):
    """HNSW, of the vectors or of codes."""

    def plan(self, k: int, effort: int, passing: int, hidden: int = 0) -> int | None:
        """Of what the walk holds, those that pass must be as many as are asked for."""
        share = max(passing, 1) / self._flat.ntotal
        held = max(effort, 2 * k, ceil(max(effort, k) / share)) + ceil(hidden / share)
        return held if passing > _COMPARED * held else None

    def _parameters(self, effort: int, selector: Any) -> Any:
        return faiss.SearchParametersHNSW(efSearch=effort, sel=selector)


class _Lists(VectorIndex):
    """Clusters, of vectors or of codes."""

    def plan(self, k: int, effort: int, passing: int, hidden: int = 0) -> int | None:
        """More lists where fewer of each pass."""
        lists, rows = faiss.extract_index_ivf(self._index).nlist, self._flat.ntotal
        probed = ceil(effort * min(_MOST_LISTS, rows / max(passing, 1)))
        return probed if passing > rows * min(probed, lists) / lists else None

    def _parameters(self, effort: int, selector: Any) -> Any:
        return faiss.SearchParametersIVF(nprobe=effort, sel=selector)


_KINDS: dict[Kind, type[VectorIndex]] = {
    "HNSW": _Graph,
    "HNSW_SQ8": _Graph,
    "IVF_FLAT": _Lists,
    "IVF_SQ8": _Lists,
    "IVF_PQ": _Lists,
    "FLAT": VectorIndex,
}
_IP, _SQ8 = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit


def build_index(config: CollectionConfig, dim: int, rows: int, blocks: Iterable[Vectors]) -> VectorIndex:
    """Build an index, with as many threads as there are cores.

    Args:
        config: Its kind and what it is built with. Where there are too few vectors to learn codes from, it is FLAT.
        dim: Length of a vector.
        rows: How many vectors there are.
        blocks: They, each [n, dim].
    """
    kind = "FLAT" if config.kind in CODED and rows < _CODES else config.kind
    if kind == "HNSW":
        index = _graph(faiss.IndexHNSWFlat(dim, config.m, _IP), config)
        flat = faiss.downcast_index(index.storage)
    else:
        flat = index = faiss.IndexFlatIP(dim)
    for block in blocks:
        index.add(block)
    if kind == "HNSW_SQ8":
        codes = _filled_up(dim, lambda width: _graph(faiss.IndexHNSWSQ(width, _SQ8, config.m, _IP), config))
        index = _filled(codes, flat, _CODES)
    elif kind in ("IVF_FLAT", "IVF_SQ8", "IVF_PQ"):
        lists = min(config.nlist, max(1, rows // _FEWEST))
        index = _filled(_lists(kind, dim, lists, config.segments), flat, max(lists, _CODES) if kind in CODED else lists)
    return _KINDS[kind](kind, flat, index)


def _graph(graph: Any, config: CollectionConfig) -> Any:
    graph.hnsw.efConstruction = config.ef_construction
    return graph


def _lists(kind: Kind, dim: int, count: int, segments: int) -> Any:
    def codes(width: int) -> Any:
        return faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(width), width, count, _SQ8, _IP)

    match kind:
        case "IVF_SQ8":
            return _filled_up(dim, codes)
        case "IVF_PQ":
            return faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, count, segments, 8, _IP)
    return faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, count, _IP)


def _filled_up(dim: int, made: Callable[[int], Any]) -> Any:
    """An index of vectors with zeros after their numbers, up to a width that codes are quick at."""
    if (width := code_width(dim)) == dim:
        return made(dim)
    return faiss.IndexPreTransform(faiss.RemapDimensionsTransform(dim, width, False), made(width))


def _filled(index: Any, flat: Any, learned: int) -> Any:
    """The index with the vectors in it, after it has learned so many centres, or values of a code, from them."""
    vectors = VectorIndex("FLAT", flat, flat).vectors
    # From all over: neighbours in the file are often alike.
    index.train(vectors[:: max(1, len(vectors) // (_TRAINED_BY * learned))])
    index.add(vectors)
    return index


def open_index(kind: Kind, folder: Path) -> VectorIndex:
    """Map what `VectorIndex.write` wrote.

    Raises:
        RuntimeError: It is not that.
    """
    flat = _mapped(folder / _VECTORS)
    if kind == "FLAT":
        return VectorIndex(kind, flat, flat)
    index = _mapped(folder / _LEADS)
    if kind == "HNSW":
        index.storage, index.own_fields = flat, False
    return _KINDS[kind](kind, flat, index)


def _mapped(path: Path) -> Any:
    """Vectors and links stay in the file; twelve bytes an item of a graph, and lists, are read (index_read.cpp)."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
