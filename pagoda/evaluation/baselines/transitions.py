"""What users chose next: the graph of first-order transitions, the plainest model that knows of order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.data.history.histories import Histories
from pagoda.evaluation.baselines.item_baseline import ItemWeights

Int64Array = NDArray[np.int64]


def transitions(users: Int64Array, items: Int64Array, size: int) -> ItemWeights:
    """How often each item came right after each other one, of the same user (a first-order Markov chain).

    It is the unpersonalised, unsmoothed chain of Rendle, Freudenthaler & Schmidt-Thieme, "Factorizing personalized
    Markov chains", WWW 2010, section 4.1, by counts in place of shares: of one item both give the same order.

    Args:
        users: int64 [n], of positives in time order.
        items: int64 [n]: positions in the catalogue.
        size: Of the catalogue.
    """
    order = np.argsort(users, kind="stable")
    same = users[order][1:] == users[order][:-1]
    before, after = items[order][:-1][same], items[order][1:][same]
    ones = np.ones(len(before), np.float32)
    return ItemWeights(sparse.csr_array((ones, (before, after)), shape=(size, size)), np.arange(size))


class TransitionScorer:
    """Scores by what came after the last item of each row's history; by popularity where nothing or the same did."""

    def __init__(self, counts: ItemWeights, histories: Histories, catalogue: Int64Array, clicks: Int64Array) -> None:
        """Take transitions, histories with items by ID, the catalogue's IDs, int64 [i], and its clicks, int64 [i]."""
        self.items, self._weights = len(catalogue), counts.weights
        # Less than one transition, whatever was clicked how often.
        self._popularity = np.divide(clicks, int(clicks.sum()) + 1, dtype=np.float32)
        self._last = np.full(len(histories), -1)
        some = histories.ends > histories.starts
        last = histories.items[histories.ends[some] - 1]
        place = np.minimum(np.searchsorted(catalogue, last), len(catalogue) - 1)
        self._last[some] = np.where(catalogue[place] == last, place, -1)

    def block(self, rows: slice) -> NDArray[np.float32]:
        """Scores float32 [rows, items] of some rows."""
        last = self._last[rows]
        scores: NDArray[np.float32] = np.tile(self._popularity, (len(last), 1))
        scores[last >= 0] += self._weights[last[last >= 0]].toarray()
        return scores
