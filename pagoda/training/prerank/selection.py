"""Which groups of features a pre-ranker reads: those that gates rank first, as many as the time allows and it gains by.

COLD, section 3.2: a network with gates learns all groups; these are ranked by their mean gate, and of each number K of
first ones networks without gates are trained and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.config.training import OptimiserConfig
from pagoda.prerank.groups import says_of_items
from pagoda.prerank.network import PreRanker
from pagoda.prerank.report import CurvePoint
from pagoda.training.prerank.learning import ROUNDS, best_round, learn, logits_of
from pagoda.training.prerank.shown import ShownExamples

_RUNS, _WARM = 15, 5
Int64Array = NDArray[np.int64]


Judged = Callable[[Sequence[str]], CurvePoint]
"""What a network of some groups is worth, and costs."""


@dataclass(frozen=True)
class Halves:
    """Examples of each half of the users: a network that learns the one is judged by the other (cross-fitting).

    Users and not moments are divided, since no tower has learned any of it; and all of it judges, since the difference
    of two orders is small.
    """

    examples: ShownExamples
    seed: int

    @cached_property
    def rows(self) -> tuple[Int64Array, Int64Array]:
        """Of each half, int64."""
        users = np.unique(self.examples.users[self.examples.shown])
        drawn = np.random.default_rng(self.seed).permutation(users)[: len(users) // 2]
        first = np.isin(self.examples.users, drawn)
        return np.flatnonzero(first), np.flatnonzero(~first)

    def best(self, rankers: Sequence[PreRanker], how: OptimiserConfig) -> tuple[int, float]:
        """After which round two rankers that learn a half each order what was shown best, and their GAUC then."""
        learning = [
            learn(ranker, self.examples, rows, how, rounds=ROUNDS, seed=self.seed)
            for ranker, rows in zip(rankers, self.rows, strict=True)
        ]
        shown = [rows[self.examples.shown[rows]] for rows in reversed(self.rows)]

        def judge() -> float:
            scores = [logits_of(ranker, self.examples, rows) for ranker, rows in zip(rankers, shown, strict=True)]
            return self.examples.gauc(np.concatenate(scores), np.concatenate(shown))

        return best_round(zip(*learning, strict=True), judge)


def select(gates: Mapping[str, float], judged: Judged, budget_ms: float) -> tuple[CurvePoint, list[CurvePoint]]:
    """Choose groups by their mean gates.

    Of those sets that keep to the budget the one with the highest GAUC is chosen, of equal ones the smallest; where
    none keeps to it, the quickest.

    Returns:
        The point chosen, and the whole curve.
    """
    ranked = sorted(gates, key=lambda name: -gates[name])
    sets = (ranked[:count] for count in range(1, len(ranked) + 1))
    curve = [judged(groups) for groups in sets if any(map(says_of_items, groups))]
    within = [point for point in curve if point.milliseconds <= budget_ms]
    if within:
        return max(within, key=lambda point: point.gauc), curve
    return min(curve, key=lambda point: point.milliseconds), curve


def measured(score: Callable[[], object]) -> float:
    """Milliseconds of a call on one core once it is warm: the quickest of some, since what else is done is no cost
    of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(_WARM + _RUNS):
            began = time.perf_counter()
            score()
            times.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return 1e3 * min(times[_WARM:])
