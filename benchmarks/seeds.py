"""Several seeds of one training: their means, and how sure these are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
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


def half_width(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean over two seeds or more (Student's t)."""
    count = len(values)
    return float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))


def over_seeds(values: NDArray[np.float64]) -> Estimate:
    """The mean over two seeds or more, float64 [seeds], with its 95 % interval (Student's t)."""
    mean, half = float(np.mean(values)), half_width(values)
    return Estimate(value=mean, low=mean - half, high=mean + half)


def ratio_over_seeds(values: NDArray[np.float64], base: NDArray[np.float64]) -> Estimate:
    """The mean by another one, paired by seed, float64 [seeds] each; NaN where either is 0.

    The 95 % interval is Student's t of the ratio's logarithm, with the variance of the linearised ratio (the delta
    method: Cochran, Sampling Techniques 1977, section 6.4).
    """
    if not (np.any(values) and np.any(base)):
        return Estimate(value=np.nan, low=np.nan, high=np.nan)
    ratio = float(np.mean(values) / np.mean(base))
    half = half_width(values - ratio * base) / float(np.mean(values))
    return Estimate(value=ratio, low=ratio * np.exp(-half), high=ratio * np.exp(half))
