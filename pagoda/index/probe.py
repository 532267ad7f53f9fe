"""How much of the truth a collection finds: its answers against exact search over the file it was built from."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pagoda.index.base import Collections
from pagoda.item_vectors.exact_search import ExactSearch
from pagoda.item_vectors.vector_files import ItemVectors

PROBE_K = 100
PROBE_QUERIES = 200
_QUERIES_A_SEARCH = 50
_WARM_QUERIES = 50
_SCORE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Probe:
    """What a probe measured."""

    recall_at_100: float
    """Mean share of the exact best 100 (or all items, if fewer) that were found."""
    queries: int
    k: int


def probe(collections: Collections, name: str, source: ItemVectors, queries: np.ndarray, effort: int) -> Probe:
    """Compare the collection with exact search over `source`, in one pass over the file.

    A found item counts when its true score, computed from the file, reaches that of the exact k-th: items that tie for
    the last place are as good as each other (as ann-benchmarks counts), a vector stored under a wrong ID is not.

    Args:
        collections: Of the backend.
        name: A loaded collection.
        source: What it was built from.
        queries: float32 [q, dim]: real user vectors; at most 200, evenly spread, are used.
        effort: As the service will search.
    """
    sample = queries[np.unique(np.linspace(0, len(queries) - 1, PROBE_QUERIES).astype(int))]
    k = min(PROBE_K, source.rows)
    rows, ids = _found(collections, name, sample, k, effort)
    scores = np.full(len(ids), -np.inf, dtype=np.float32)
    exact = ExactSearch(sample, k)
    for block_ids, vectors in source.stored():
        block_scores = exact.add(block_ids, vectors)
        place = np.minimum(np.searchsorted(block_ids, ids), len(block_ids) - 1)
        here = block_ids[place] == ids
        scores[here] = block_scores[rows[here], place[here]]
    reached = scores >= exact.scores[rows, -1] - _SCORE_TOLERANCE
    return Probe(float(reached.sum() / (len(sample) * k)), len(sample), k)


def warm(collections: Collections, name: str, queries: np.ndarray, effort: int) -> float:
    """Ask some queries one at a time, as the service will; returns the later half's median in milliseconds."""
    took = []
    for query in queries[:_WARM_QUERIES]:
        begin = time.perf_counter()
        collections.search(name, query[None], PROBE_K, effort=effort)
        took.append(time.perf_counter() - begin)
    return float(np.median(took[len(took) // 2 :]) * 1e3)


def _found(
    collections: Collections, name: str, queries: np.ndarray, k: int, effort: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the collection finds, as pairs without repetition: row of the query and item ID, both int64 [n]."""
    answers: list[np.ndarray] = []
    for start in range(0, len(queries), _QUERIES_A_SEARCH):
        part = queries[start : start + _QUERIES_A_SEARCH]
        answers += [np.unique(hits.ids) for hits in collections.search(name, part, k, effort=effort)]
    rows = np.repeat(np.arange(len(answers)), [len(answer) for answer in answers])
    return rows, np.concatenate(answers)
