"""Rows with several items to find: what a user chose after a moment, or what was held out of a set without order.

Full ranking as in `pagoda.evaluation.ranking`; all that a row is to find are candidates beside one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.evaluation.metrics import THIRDS, Float64Array, ndcg, recall
from pagoda.evaluation.ranking import BLOCK_BYTES, ExcludedPairs, Int64Array, Ranks, Scorer, places_of


@dataclass(frozen=True)
class Relevant:
    """What each row is to find."""

    rows: Int64Array
    """int64 [pairs], ascending: of which row each is."""
    items: Int64Array
    """int64 [pairs]: positions in the catalogue."""
    counts: Int64Array
    """int64 [rows], at least 1: how many a row is to find; what the catalogue lacks counts, too, though nobody can."""

    @classmethod
    def single(cls, items: Int64Array) -> Relevant:
        """One item a row, int64 [rows]."""
        return cls(np.arange(len(items)), items, np.ones(len(items), np.int64))


@dataclass(frozen=True)
class RelevantRanks:
    """Where what is relevant stands, and what is shown in place of it."""

    relevant: Relevant
    ranks: Ranks
    """Of each pair."""
    shown: Int64Array
    """int64 [items]: how many rows have an item among their top k."""

    def recall(self, k: int) -> Float64Array:
        """Share of each row's items that are within its top k, float64 [rows]."""
        return self._sum(recall(self.ranks, k)) / self.relevant.counts

    def ndcg(self, k: int) -> Float64Array:
        """NDCG@k of each row with binary gains, float64 [rows] (Järvelin & Kekäläinen 2002).

        The ideal has as many of the row's items as there are, k at most, at its top.
        """
        ideal = np.cumsum(1.0 / np.log2(np.arange(1, k + 1) + 1))
        found: Float64Array = self._sum(ndcg(self.ranks, k)) / ideal[np.minimum(self.relevant.counts, k) - 1]
        return found

    def hit_rate(self, k: int) -> Float64Array:
        """Whether each row has any of its items within its top k, float64 [rows]; of ties, the best placed item's."""
        hits = np.zeros(len(self.relevant.counts))
        np.maximum.at(hits, self.relevant.rows, recall(self.ranks, k))
        return hits

    def metrics(self, asked: Sequence[str]) -> dict[str, Float64Array]:
        """Each row's `hr@k`, `recall@k` and `ndcg@k`, by these names."""
        by_name = {"hr": self.hit_rate, "recall": self.recall, "ndcg": self.ndcg}
        return {name: by_name[kind](int(k)) for name in asked for kind, _, k in [name.partition("@")]}

    def _sum(self, values: Float64Array) -> Float64Array:
        sums = np.bincount(self.relevant.rows, weights=values, minlength=len(self.relevant.counts))
        return sums.astype(np.float64, copy=False)


def find(scorer: Scorer, relevant: Relevant, seen: ExcludedPairs, shown_at: int) -> RelevantRanks:
    """Rank what each row is to find among all items but those it has seen.

    Args:
        scorer: Scores of rows against items.
        relevant: What to find.
        seen: Items left out; never one of the row's own.
        shown_at: k of `RelevantRanks.shown`.

    Memory follows a block of rows times the items, 32 MB or one row, not the number of rows.
    """
    above, tied = np.empty_like(relevant.items), np.empty_like(relevant.items)
    shown = np.zeros(scorer.items, np.int64)
    step, rows = max(1, BLOCK_BYTES // (4 * scorer.items)), len(relevant.counts)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        scores = scorer.block(slice(start, stop))
        scores[seen.within(start, stop)] = -np.inf
        first, last = np.searchsorted(relevant.rows, [start, stop])
        for pair in range(first, last, step):
            part = slice(pair, min(pair + step, last))
            above[part], tied[part] = places_of(relevant.items[part], scores[relevant.rows[part] - start])
        shown += _counts(scores, shown_at)
    return RelevantRanks(relevant, Ranks(above, tied, {}), shown)


def tail_share(shown: Int64Array, third: Int64Array) -> float:
    """Share of what is shown, int64 [items], that is of the last third by popularity, as `metrics.thirds` gives it."""
    return float(shown[third == THIRDS.index("tail")].sum() / max(int(shown.sum()), 1))


def _counts(scores: NDArray[np.float32], k: int) -> Int64Array:
    """How many rows of `scores` [rows, items] have each item among their top k, int64 [items]; masked ones never."""
    values, best = torch.topk(torch.from_numpy(scores), min(k, scores.shape[1]), dim=1)
    return np.bincount(best[values > -torch.inf].numpy(), minlength=scores.shape[1])
