"""The plain models: learned from who had what, and asked by what a user had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.leaderboard.questions import AskedUsers
from pagoda.channels.neighbours.co_occurrence import UserItems, read_positives, read_user_items
from pagoda.data.window import Window
from pagoda.errors import DataError
from pagoda.evaluation.baselines.ease import ease
from pagoda.evaluation.baselines.implicit_als import DIM, learn_items, solve
from pagoda.evaluation.baselines.item_baseline import MOST, ItemBaselineScorer, ItemWeights, item_knn
from pagoda.evaluation.baselines.transitions import TransitionScorer, transitions
from pagoda.evaluation.ranking import DotScorer, Scorer, StaticScorer

BaselineName = Literal["popularity", "item-kNN", "EASE", "transitions", "iALS"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)


@dataclass(frozen=True)
class LearnedLog:
    """What a baseline may know: the positives before the end of what is learned."""

    asked: AskedUsers
    learned: Window
    seed: int

    @cached_property
    def had(self) -> UserItems:
        """Who had what."""
        found = read_user_items(self.asked.dataset, self.learned.end, self.asked.catalogue, MOST.rows)
        if found is None:
            raise DataError(f"{self.asked.dataset.path}: no positive in window {self.learned.key}, nothing to learn")
        return found

    @cached_property
    def in_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Users and positions of items, int64 [n] each, in time order."""
        return read_positives(self.asked.dataset, self.learned.end, self.asked.catalogue, MOST.rows)[:2]

    @cached_property
    def clicks(self) -> NDArray[np.int64]:
        """int64 [items]: users who had each."""
        counts = np.zeros(len(self.asked.catalogue), np.int64)
        counts[self.had.places] = np.asarray(self.had.matrix.sum(axis=0), np.int64)
        return counts


def baseline(name: BaselineName, log: LearnedLog) -> Scorer:
    """Learn a baseline.

    Raises:
        DataError: There are more items than EASE's matrix may have rows.
    """
    return _LEARNERS[name](log)


def _popularity(log: LearnedLog) -> Scorer:
    return StaticScorer(log.clicks.astype(np.float32), len(log.asked.rows))


def _item_knn(log: LearnedLog) -> Scorer:
    return _by_weights(log, item_knn(log.had))


def _ease(log: LearnedLog) -> Scorer:
    if (items := log.had.matrix.shape[1]) > MOST.ease_items:
        raise DataError(
            f"{items:,} items are more than the {MOST.ease_items:,} whose matrix EASE may hold; leave it out"
        )
    return _by_weights(log, ease(log.had))


def _by_weights(log: LearnedLog, weights: NDArray[np.float32] | sparse.csr_array) -> Scorer:
    return ItemBaselineScorer(ItemWeights(weights, log.had.places), log.asked.had, len(log.asked.rows), log.clicks)


def _transitions(log: LearnedLog) -> Scorer:
    counts = transitions(*log.in_order, len(log.asked.catalogue))
    return TransitionScorer(counts, log.asked.histories, log.asked.catalogue, log.clicks)


def _ials(log: LearnedLog) -> Scorer:
    """A user is folded in by what they had at the moment."""
    items = np.zeros((len(log.clicks), DIM), np.float32)
    items[log.had.places] = learn_items(log.had.matrix, log.seed)
    had = log.asked.had
    ones = np.ones(len(had.rows), np.float32)
    users = solve(sparse.csr_array((ones, (had.rows, had.items)), shape=(len(log.asked.rows), len(items))), items)
    # Who had nothing is a user of zeros; one more factor gives them popularity, as the other baselines do.
    nobody = ~users.any(axis=1)
    return DotScorer(np.column_stack([users, nobody]), np.column_stack([items, log.clicks.astype(np.float32)]))


_LEARNERS: dict[BaselineName, Callable[[LearnedLog], Scorer]] = {
    "popularity": _popularity,
    "item-kNN": _item_knn,
    "EASE": _ease,
    "transitions": _transitions,
    "iALS": _ials,
}
