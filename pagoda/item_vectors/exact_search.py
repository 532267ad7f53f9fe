"""Exact top-k by blocked matrix products: what an approximate index is measured against."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Block = tuple[np.ndarray, np.ndarray]
"""Item IDs (int64 [n], ascending) and their vectors (float32 [n, dim])."""


class ExactSearch:
    """The best k items of each query over blocks that come one by one: memory follows a block, not the catalogue."""

    def __init__(self, queries: np.ndarray, k: int) -> None:
        """Begin with nothing seen.

        Args:
            queries: float32 [q, dim].
            k: Items wanted of each query; fewer come back when there are fewer.
        """
        self._queries = np.ascontiguousarray(queries, dtype=np.float32)
        self._k = k
        self.ids = np.empty((len(queries), 0), dtype=np.int64)
        """int64 [q, min(k, seen)]: best first; of equal scores the lower ID first."""
        self.scores = np.empty((len(queries), 0), dtype=np.float32)
        """float32 [q, min(k, seen)]: inner products."""

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """See one block; returns its scores, float32 [q, n]."""
        block: np.ndarray = self._queries @ vectors.T
        columns = _best(block, self._k)
        scores = np.concatenate([self.scores, np.take_along_axis(block, columns, axis=1)], axis=1)
        found = np.concatenate([self.ids, ids[columns]], axis=1)
        order = np.lexsort((found, -scores), axis=1)[:, : self._k]
        self.scores = np.take_along_axis(scores, order, axis=1)
        self.ids = np.take_along_axis(found, order, axis=1)
        return block


def exact_top_k(queries: np.ndarray, blocks: Iterable[Block], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the IDs (int64 [q, m]) and inner products (float32 [q, m]) of each query's best m = min(k, items)."""
    search = ExactSearch(queries, k)
    for ids, vectors in blocks:
        search.add(ids, vectors)
    return search.ids, search.scores


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest of each row, int64 [q, min(k, n)]; of those that tie for the last place, the first."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    last = np.partition(scores, -k, axis=1)[:, -k, None]
    above = scores > last
    # argpartition would pick any of the tied; a stable order makes the answer the same for every block size.
    tied = scores == last
    wanted = above | (tied & (np.cumsum(tied, axis=1) <= k - above.sum(axis=1, keepdims=True)))
    return np.nonzero(wanted)[1].reshape(len(scores), k)
