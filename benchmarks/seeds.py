"""Several seeds of one training: their means, and how sure these are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from benchmarks.kept_run import UserValues
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.report import Estimate


def mean_of(seeds: Sequence[UserValues]) -> UserValues:
    """Each user's mean over seeds, which asked the same users."""
    first = seeds[0]
    return UserValues(
        first.users, {name: np.mean([one.values[name] for one in seeds], axis=0) for name in first.values}
    )


def estimates(found: UserValues) -> dict[str, Estimate]:
    """Means over users by metric, each with its 95 % interval over users."""
    resampled = resample(found.matrix, found.users)
    return {
        name: Estimate(value=float(resampled.means[place]), low=low, high=high)
        for place, name in enumerate(found.values)
        for low, high in [interval(resampled.samples[:, place])]
    }


def differences(found: UserValues, base: UserValues) -> dict[str, Estimate]:
    """What one gains over another, paired by user, each with its 95 % interval over users."""
    gains = {name: values - base.values[name] for name, values in found.values.items()}
    return estimates(UserValues(found.users, gains))


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean over two seeds or more (Student's t)."""
    count = len(values)
    return float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
