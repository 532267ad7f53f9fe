"""A recommender of items that go with those that a user had, as anyone could build one in an afternoon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.channels.neighbours.co_occurrence import UserItems, read_user_items
from pagoda.channels.neighbours.item_similarity import cosine_neighbours
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.baselines.ease import ease
from pagoda.evaluation.ranking import ExcludedPairs
from pagoda.evaluation.report import ItemBaselineName

_NEIGHBOURS = 100


@dataclass(frozen=True)
class BaselineLimits:
    """What learning a baseline may take."""

    ease_items: int = 20_000
    """Most items for which it is EASE, whose matrix is theirs squared and whose time is theirs cubed; else item-kNN."""
    rows: int = 5_000_000
    """Most positives that are read into memory; of a log with more, those of a share of the users: about 200 MB."""


MOST = BaselineLimits()
"""What an evaluation that somebody asked for may take."""


@dataclass(frozen=True)
class ItemWeights:
    """Weights between items, learned from what all users had."""

    weights: NDArray[np.float32] | sparse.csr_array
    """[items of the log, items of the log], from what a user had to what to show."""
    places: NDArray[np.int64]
    """int64 [items of the log]: their positions in the catalogue, ascending."""


@dataclass(frozen=True)
class ItemBaseline(ItemWeights):
    """The weights that an evaluation sets beside a version."""

    name: ItemBaselineName
    share: float
    """Of the users that it learned from."""


def learn_item_baseline(
    dataset: Dataset, until: Window, catalogue: NDArray[np.int64], limits: BaselineLimits
) -> ItemBaseline | None:
    """Learn from the positives before the start of `until`, within `limits`; None where there is none."""
    had = read_user_items(dataset, until.start, catalogue, limits.rows)
    if had is None:
        return None
    name: ItemBaselineName = "ease" if had.matrix.shape[1] <= limits.ease_items else "item_knn"
    return ItemBaseline(ease(had) if name == "ease" else item_knn(had), had.places, name, had.share)


def item_knn(had: UserItems) -> sparse.csr_array:
    """Each item's nearest by the cosine of the sets of users who had them, float32 [items, items]: a column has the
    neighbours of its item, so what a user had adds up along the rows."""
    return cosine_neighbours(had, _NEIGHBOURS).T.tocsr()


class ItemBaselineScorer:
    """Scores by what each row's user had at its moment; of a user who had nothing, popularity is the answer."""

    def __init__(self, baseline: ItemWeights, had: ExcludedPairs, rows: int, clicks: NDArray[np.int64]) -> None:
        """Take the pairs that the users of `rows` rows had, and how often each of the items was chosen, int64 [i]."""
        self.items, self._clicks, self._places = len(clicks), clicks.astype(np.float32), baseline.places
        column = np.minimum(np.searchsorted(baseline.places, had.items), len(baseline.places) - 1)
        known = baseline.places[column] == had.items
        ones = np.ones(int(known.sum()), np.float32)
        shape = (rows, len(baseline.places))
        self._had = sparse.csr_array((ones, (had.rows[known], column[known])), shape=shape)
        self._weights = baseline.weights

    def block(self, rows: slice) -> NDArray[np.float32]:
        """Scores float32 [rows, items] of some rows."""
        had = self._had[rows]
        found = had @ self._weights
        scores = np.zeros((had.shape[0], self.items), np.float32)
        scores[:, self._places] = found.toarray() if sparse.issparse(found) else found
        scores[np.diff(had.indptr) == 0] = self._clicks
        return scores
