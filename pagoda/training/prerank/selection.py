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

from pagoda.evaluation.bootstrap import resample
from pagoda.evaluation.metrics import user_auc
from pagoda.prerank.groups import says_of_items
from pagoda.prerank.network import PreRanker
from pagoda.prerank.report import CurvePoint
from pagoda.training.prerank.learning import logits_of, mean_gates
from pagoda.training.prerank.shown import ShownExamples

_RUNS, _WARM = 15, 5
_REPLICATES = 200
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

    def aucs(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """AUC of each row's user, float64 [m]; see `user_auc`."""
        return user_auc(scores, self.examples.chosen[self.rows], self.examples.users[self.rows])

    def scores(self, ranker: PreRanker) -> NDArray[np.float32]:
        """What one says of them, float32 [m]."""
        return logits_of(ranker, self.examples, self.rows)

    def point(self, groups: Sequence[str], fit: Fit, milliseconds: Milliseconds) -> CurvePoint:
        """What a network of these groups is worth, and costs."""
        ranker, rounds = fit
        worth, cost = self.gauc(self.scores(ranker)), milliseconds(ranker)
        return CurvePoint(groups=tuple(groups), gauc=worth, milliseconds=cost, rounds=rounds)

    def gauc(self, scores: NDArray[np.floating]) -> float:
        """Their mean; one half where no user has both."""
        aucs = self.aucs(scores)
        return float(np.nanmean(aucs)) if np.isfinite(aucs).any() else 0.5


def select(
    names: Sequence[str], fitted: Fitted, held: HeldBack, milliseconds: Milliseconds, budget_ms: float
) -> tuple[CurvePoint, list[CurvePoint], dict[str, float]]:
    """Choose groups.

    Of those sets that keep to the budget, the one with fewest groups whose GAUC is less than a standard error (over
    users) below the best one's is chosen (Breiman et al. 1984, section 3.4.3); where none keeps to it, the quickest.

    Returns:
        The point chosen, the whole curve, and the mean gates by group.
    """
    gates = mean_gates(fitted(names, True).ranker, held.examples, held.rows)
    ranked = sorted(gates, key=lambda name: -gates[name])
    curve, aucs = [], []
    for count in range(1, len(ranked) + 1):
        groups = tuple(ranked[:count])
        if not any(map(says_of_items, groups)):
            continue
        fit = fitted(groups, False)
        curve.append(held.point(groups, fit, milliseconds))
        aucs.append(held.aucs(held.scores(fit.ranker)))
    return _knee(curve, aucs, held, budget_ms), curve, gates


def _knee(
    curve: Sequence[CurvePoint], aucs: Sequence[NDArray[np.float64]], held: HeldBack, budget_ms: float
) -> CurvePoint:
    within = [number for number, point in enumerate(curve) if point.milliseconds <= budget_ms]
    if not within:
        return min(curve, key=lambda point: point.milliseconds)
    best = max(within, key=lambda number: curve[number].gauc)
    short = np.column_stack([aucs[best] - aucs[number] for number in within])
    found = resample(short, held.examples.users[held.rows], replicates=_REPLICATES)
    errors = np.nan_to_num(np.nanstd(found.samples, axis=0))
    enough = np.nan_to_num(found.means) <= errors
    return curve[within[int(np.argmax(enough))]]


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
