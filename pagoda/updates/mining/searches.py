"""How mining searches: all items, by a cascade's two models, or a collection as serving does."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pagoda.config.ensemble import CascadeShape
from pagoda.index.base import MOST_FOUND, Collections
from pagoda.item_vectors.exact_search import exact_top_k

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
_ITEMS = 16_384
"""Compared at a time: of four times as many the search holds 0.9 GB in place of 0.2, and takes as long."""


class NearestItems(NamedTuple):
    """What queries found, the best first."""

    ids: Int64Array
    """int64 [q, m]; -1 fills up."""
    scores: Float32Array
    """float32 [q, m]; -inf fills up."""


class Search(Protocol):
    """Finds the items of the largest inner product."""

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """What queries float32 [q, dim] find, at most k items each."""


class InMemorySearch:
    """Compares every query with every item; vectors float32 [i, dim] of items int64 [i] stay in memory."""

    def __init__(self, ids: Int64Array, vectors: Float32Array) -> None:
        self._ids, self._vectors = ids, vectors

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """See `Search`."""
        starts = range(0, len(self._ids), _ITEMS)
        blocks = ((self._ids[at : at + _ITEMS], self._vectors[at : at + _ITEMS]) for at in starts)
        return NearestItems(*exact_top_k(vectors, blocks, k))


class CascadeSearch:
    """Orders by a cascade's second model what is found by its first."""

    def __init__(self, finding: Search, cascade: CascadeShape, ids: Int64Array, vectors: Float32Array) -> None:
        """Take a search by the first model, and vectors float32 [i, dim] of both, of items int64 [i], ascending."""
        self._finding, self._cascade = finding, cascade
        self._ids, self._vectors = ids, vectors[:, cascade.first :]

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """See `Search`; at most the cascade's candidates."""
        first, second = np.split(vectors, [self._cascade.first], axis=1)
        ids = self._finding(first, self._cascade.candidates).ids
        places = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        known = self._ids[places] == ids
        # One after the other: the candidates' vectors of all at once would be gigabytes.
        products = [self._vectors[row] @ query for row, query in zip(places, second, strict=True)]
        scores = np.where(known, np.stack(products), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.where(known, ids, -1)
        return NearestItems(np.take_along_axis(best, order, 1), np.take_along_axis(scores, order, 1))


class CollectionSearch:
    """Asks a collection, as serving does: what it finds is what users are shown."""

    def __init__(self, collections: Collections, name: str) -> None:
        self._collections, self._name = collections, name

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """See `Search`."""
        k = min(k, MOST_FOUND)
        hits = self._collections.search(self._name, vectors, k, effort=2 * k)
        shape = len(vectors), max(len(hit.ids) for hit in hits)
        found = NearestItems(np.full(shape, -1), np.full(shape, -np.inf, np.float32))
        for row, hit in enumerate(hits):
            found.ids[row, : len(hit.ids)], found.scores[row, : len(hit.ids)] = hit.ids, hit.scores
        return found


def search_of(
    cascade: CascadeShape | None, ids: Int64Array, vectors: Float32Array, given: Search | None = None
) -> Search:
    """How a version's items are found.

    Args:
        cascade: How its vectors are read, where it is a cascade.
        ids: int64 [i], ascending: all items.
        vectors: float32 [i, dim], theirs.
        given: Finds the nearest vectors of those that a collection holds; None: all items are compared.
    """
    if cascade is None:
        return given or InMemorySearch(ids, vectors)
    return CascadeSearch(given or InMemorySearch(ids, vectors[:, : cascade.first]), cascade, ids, vectors)
