"""How much of the truth a collection finds: its answers against exact search over the file it was built from."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pagoda.index.base import MOST_FOUND, Collections, Hits
from pagoda.item_vectors.exact_search import ExactSearch
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import VectorsById

PROBE_K = 100
PROBE_QUERIES = 200
_QUERIES_A_SEARCH = 50
_WARM_QUERIES = 50
_SCORE_TOLERANCE = 1e-5
"""Of a score's size, where that is above 1: products of long vectors are no more exact."""


@dataclass(frozen=True)
class Probe:
    """What a probe measured."""

    recall_at_100: float
    """Mean share of the exact best k that were found."""
    queries: int
    k: int
    """100, or a cascade's candidates; all items, if fewer."""


@dataclass(frozen=True)
class SearchedCollection:
    """A loaded collection, searched as recall searches it."""

    collections: Collections
    name: str
    effort: int
    refine: int = 1
    originals: VectorsById | None = None
    """What scores again what is found by codes; None: nothing does, or the backend itself."""
    asked: int = PROBE_K
    """Items that recall asks for: of a cascade, its candidates."""

    def search(self, queries: np.ndarray, k: int) -> list[Hits]:
        """The best k for each of float32 [q, dim]."""
        if (originals := self.originals) is None:
            return self.collections.search(self.name, queries, k, effort=self.effort)
        found = self.collections.search(
            self.name, originals.asked(queries), min(MOST_FOUND, self.refine * k), effort=self.effort
        )
        best = (
            (hits, *originals.best(query, hits.ids, hits.scores, k)) for query, hits in zip(queries, found, strict=True)
        )
        return [Hits(hits.ids[places], scores) for hits, places, scores in best]


def probe(searched: SearchedCollection, source: ItemVectors, queries: np.ndarray) -> Probe:
    """Compare the collection with exact search over `source`, in one pass over the file.

    A found item counts when its true score, computed from the file, reaches that of the exact k-th: items that tie for
    the last place are as good as each other (as ann-benchmarks counts), a vector stored under a wrong ID is not.

    Args:
        searched: The collection.
        source: What it was built from.
        queries: float32 [q, dim]: real user vectors; at most 200, evenly spread, are used.
    """
    sample = queries[np.unique(np.linspace(0, len(queries) - 1, PROBE_QUERIES).astype(int))]
    k = min(searched.asked, source.rows)
    rows, ids = _found(searched, sample, k)
    scores = np.full(len(ids), -np.inf, dtype=np.float32)
    exact = ExactSearch(sample, k)
    for block_ids, vectors in source.stored():
        block_scores = exact.add(block_ids, vectors)
        place = np.minimum(np.searchsorted(block_ids, ids), len(block_ids) - 1)
        here = block_ids[place] == ids
        scores[here] = block_scores[rows[here], place[here]]
    least = exact.scores[rows, -1]
    reached = scores >= least - _SCORE_TOLERANCE * np.maximum(np.abs(least), 1)
    return Probe(float(reached.sum() / (len(sample) * k)), len(sample), k)


def warm(searched: SearchedCollection, queries: np.ndarray) -> float:
    """Ask some queries one at a time, as the service will; returns the later half's median in milliseconds."""
    took = []
    for query in queries[:_WARM_QUERIES]:
        begin = time.perf_counter()
        searched.search(query[None], searched.asked)
        took.append(time.perf_counter() - begin)
    return float(np.median(took[len(took) // 2 :]) * 1e3)


def _found(searched: SearchedCollection, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What the collection finds, as pairs without repetition: row of the query and item ID, both int64 [n]."""
    answers: list[np.ndarray] = []
    for start in range(0, len(queries), _QUERIES_A_SEARCH):
        part = queries[start : start + _QUERIES_A_SEARCH]
        answers += [np.unique(hits.ids) for hits in searched.search(part, k)]
    rows = np.repeat(np.arange(len(answers)), [len(answer) for answer in answers])
    return rows, np.concatenate(answers)
