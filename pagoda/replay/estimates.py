"""Means, intervals and paired differences of all policies, over all rows and hour by hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pagoda.data.window import from_us, to_us
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.channels.asking import BoolArray
from pagoda.evaluation.estimates import METRICS
from pagoda.evaluation.offline import Questions
from pagoda.evaluation.ranking import Ranks
from pagoda.evaluation.report import Estimate
from pagoda.replay.answers import MERGED_AT
from pagoda.replay.plan import Policy, ReplayPlan
from pagoda.replay.report import Difference, Figures, Hour, HourOfDay

_HOUR_US = 3_600_000_000
_PAIRS = (
    (Policy.BOTH, Policy.FULL),
    (Policy.BOTH, Policy.INCREMENTAL),
    (Policy.FULL, Policy.FROZEN),
    (Policy.INCREMENTAL, Policy.FROZEN),
)
Int64Array = NDArray[np.int64]
MERGED_RECALL = f"merged recall@{MERGED_AT}"
"""Of the answers that channels merge."""


class Estimating:
    """Figures of any of the rows."""

    def __init__(
        self, questions: Questions, ranks: Mapping[Policy, Ranks], found: Mapping[Policy, BoolArray], seed: int
    ) -> None:
        """Take where each policy ranks the targets and, with channels, whose merged answers had them, bool [rows]."""
        self._policies, self._seed = tuple(ranks), seed
        self._users, self._times_us = questions.rows.users, questions.rows.times_us
        self._metrics = (*METRICS, *([MERGED_RECALL] if found else []))
        # One column for each policy and metric, policy by policy.
        columns = [
            column
            for policy in ranks
            for column in (
                *(metric(ranks[policy]) for metric in METRICS.values()),
                *([found[policy]] if found else []),
            )
        ]
        self._values = np.stack(columns, axis=1, dtype=np.float64)

    def overall(self) -> Figures:
        """Figures of all rows."""
        return self._figures(np.arange(len(self._users)))

    def hours(self) -> tuple[Hour, ...]:
        """Figures of each hour of the log, counted in UTC."""
        return tuple(
            Hour(start=from_us(hour * _HOUR_US), figures=self._figures(rows))
            for hour, rows in _groups(self._times_us // _HOUR_US)
        )

    def since_full(self, plan: ReplayPlan) -> tuple[HourOfDay, ...]:
        """Figures by the whole hours since the full update's moment, all days together."""
        since = (self._times_us - to_us(plan.first.end)) % (24 * _HOUR_US) // _HOUR_US
        return tuple(HourOfDay(hour=hour, figures=self._figures(rows)) for hour, rows in _groups(since))

    def _figures(self, rows: Int64Array) -> Figures:
        resampled = resample(self._values[rows], self._users[rows], seed=self._seed)
        shape = (len(self._policies), len(self._metrics))
        means = resampled.means.reshape(shape)
        samples = resampled.samples.reshape(-1, *shape)
        place = {policy: number for number, policy in enumerate(self._policies)}
        return Figures(
            rows=len(rows),
            users=len(np.unique(self._users[rows])),
            policies={policy: self._estimates(means[at], samples[:, at]) for policy, at in place.items()},
            paired=tuple(
                Difference(
                    policy=one,
                    minus=other,
                    metrics=self._estimates(
                        means[place[one]] - means[place[other]], samples[:, place[one]] - samples[:, place[other]]
                    ),
                )
                for one, other in _PAIRS
                if one in place and other in place
            ),
        )

    def _estimates(self, means: NDArray[np.float64], samples: NDArray[np.float64]) -> dict[str, Estimate]:
        """An estimate for each metric from means [metrics] and samples [replicates, metrics]."""
        found = {}
        for number, metric in enumerate(self._metrics):
            low, high = interval(samples[:, number])
            found[metric] = Estimate(value=float(means[number]), low=low, high=high)
        return found


def _groups(keys: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    """Each distinct key in ascending order, with the positions that have it."""
    order = np.argsort(keys, kind="stable")
    distinct, first = np.unique(keys[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(order, first[1:]), strict=True)
