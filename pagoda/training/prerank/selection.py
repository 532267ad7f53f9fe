"""Which groups of features a pre-ranker reads: those that gates rank first, as many as the time allows and it gains by.

COLD, section 3.2: a network with gates learns all groups; these are ranked by their mean gate, and of each number K of
first ones a network without gates is trained and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.evaluation.metrics import user_auc
from pagoda.prerank.groups import says_of_items
from pagoda.prerank.network import PreRanker
from pagoda.prerank.report import CurvePoint
from pagoda.training.prerank.learning import logits_of, mean_gates
from pagoda.training.prerank.shown import ShownExamples

_RUNS, _WARM = 15, 5
Int64Array = NDArray[np.int64]


class Fit(NamedTuple):
    """A network that has learned."""

    ranker: PreRanker
    rounds: int
    """In which it gained."""


Fitted = Callable[[Sequence[str], bool], Fit]
"""Trains a network on what is learned: its groups, and whether it has gates."""
Milliseconds = Callable[[PreRanker], float]
"""What it costs."""


@dataclass(frozen=True)
class HeldBack:
    """Examples that a choice is judged by."""

    examples: ShownExamples
    rows: Int64Array
    """int64 [m]: shown, and not learned from."""

    def scores(self, ranker: PreRanker) -> NDArray[np.float32]:
        """What one says of them, float32 [m]."""
        return logits_of(ranker, self.examples, self.rows)

    def point(self, groups: Sequence[str], fit: Fit, milliseconds: Milliseconds) -> CurvePoint:
        """What a network of these groups is worth, and costs."""
        ranker, rounds = fit
        worth, cost = self.gauc(self.scores(ranker)), milliseconds(ranker)
        return CurvePoint(groups=tuple(groups), gauc=worth, milliseconds=cost, rounds=rounds)

    def gauc(self, scores: NDArray[np.floating]) -> float:
        """Mean AUC of their users, see `user_auc`; one half where nobody took some and left others."""
        aucs = user_auc(scores, self.examples.chosen[self.rows], self.examples.users[self.rows])
        return float(np.nanmean(aucs)) if np.isfinite(aucs).any() else 0.5


def select(
    names: Sequence[str], fitted: Fitted, held: HeldBack, milliseconds: Milliseconds, budget_ms: float
) -> tuple[CurvePoint, list[CurvePoint], dict[str, float]]:
    """Choose groups.

    Of those sets that keep to the budget the one with the highest GAUC is chosen, of equal ones the smallest; where
    none keeps to it, the quickest.

    Returns:
        The point chosen, the whole curve, and the mean gates by group.
    """
    gates = mean_gates(fitted(names, True).ranker, held.examples, held.rows)
    ranked = sorted(gates, key=lambda name: -gates[name])
    sets = (tuple(ranked[:count]) for count in range(1, len(ranked) + 1))
    curve = [
        held.point(groups, fitted(groups, False), milliseconds) for groups in sets if any(map(says_of_items, groups))
    ]
    within = [point for point in curve if point.milliseconds <= budget_ms]
    if within:
        return max(within, key=lambda point: point.gauc), curve, gates
    return min(curve, key=lambda point: point.milliseconds), curve, gates


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
