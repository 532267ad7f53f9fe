"""Means with intervals for every method, group and metric, from the same resampled users."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.metrics import THIRDS, ndcg, recall, thirds
from pagoda.evaluation.offline import Answers
from pagoda.evaluation.ranking import Ranks
from pagoda.evaluation.report import Estimate, Group, GroupName

RECALL_AT = (10, 50, 100)
NDCG_AT = (10, 50)
METRICS: dict[str, Callable[[Ranks], NDArray[np.float64]]] = {
    **{f"recall@{k}": partial(recall, k=k) for k in RECALL_AT},
    **{f"ndcg@{k}": partial(ndcg, k=k) for k in NDCG_AT},
}
_Column = tuple[str, GroupName, str]


class Estimates:
    """What the answers say of each method in each group; one resampling serves all, so that ratios are paired."""

    def __init__(self, answers: Answers, seed: int) -> None:
        self._users, self._masks = answers.rows.users, _groups(answers)
        self._places: dict[_Column, int] = {}
        values: list[NDArray[np.float64]] = []
        for method, ranks in answers.ranks.items():
            for metric, compute in METRICS.items():
                per_row = compute(ranks)
                for group, mask in self._masks.items():
                    self._places[method, group, metric] = len(values)
                    values.append(np.where(mask, per_row, np.nan))
        self._resampled = resample(np.stack(values, axis=1), self._users, seed=seed)

    def groups(self, method: str) -> dict[GroupName, Group]:
        """The method's figures in each group that has rows."""
        return {
            group: Group(
                rows=int(mask.sum()),
                users=len(np.unique(self._users[mask])),
                metrics={metric: self._estimate((method, group, metric)) for metric in METRICS},
            )
            for group, mask in self._masks.items()
        }

    def lift(self, over: str) -> dict[str, Estimate]:
        """`live` divided by another method over all rows, for each metric in which that is above 0."""
        lift = {}
        for metric in METRICS:
            live, other = self._places["live", "all", metric], self._places[over, "all", metric]
            means, samples = self._resampled.means, self._resampled.samples
            if means[other] > 0:
                with np.errstate(divide="ignore", invalid="ignore"):
                    low, high = interval(samples[:, live] / samples[:, other])
                lift[metric] = Estimate(value=float(means[live] / means[other]), low=low, high=high)
        return lift

    def _estimate(self, column: _Column) -> Estimate:
        place = self._places[column]
        low, high = interval(self._resampled.samples[:, place])
        return Estimate(value=float(self._resampled.means[place]), low=low, high=high)


def _groups(answers: Answers) -> dict[GroupName, NDArray[np.bool_]]:
    third = thirds(answers.clicks)[answers.targets]
    masks: dict[GroupName, NDArray[np.bool_]] = {"all": np.ones(len(third), np.bool_), "new_users": ~answers.known}
    for place, name in enumerate(THIRDS):
        masks[name] = third == place
    return {name: mask for name, mask in masks.items() if mask.any()}
