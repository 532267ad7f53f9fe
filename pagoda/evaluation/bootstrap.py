"""Confidence intervals by resampling users: rows of one user are alike, so rows must not be resampled alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
_CELLS = 1 << 22
"""Draws made at once: 32 MB."""


@dataclass(frozen=True)
class Resampled:
    """Means over rows, with the same resampled users for every column, so that differences and ratios are paired."""

    means: Float64Array
    """float64 [columns]: means over all rows; NaN where a column has none."""
    samples: Float64Array
    """float64 [replicates, columns]: the means in each resample."""


def resample(
    values: NDArray[np.floating], users: NDArray[np.int64], *, replicates: int = 1000, seed: int = 0
) -> Resampled:
    """Bootstrap means of `values` over users (the cluster bootstrap, Efron & Tibshirani 1993, chapter 8).

    Args:
        values: float [rows, columns]; NaN where a row does not belong to a column's group.
        users: int64 [rows].
        replicates: Resamples, each of as many users as there are, drawn with replacement.
        seed: The same seed gives the same intervals.
    """
    distinct, user = np.unique(users, return_inverse=True)
    counted = np.isfinite(values)
    sums = _sum_by(user, np.where(counted, values, 0.0), len(distinct))
    counts = _sum_by(user, counted, len(distinct))
    generator = np.random.default_rng(seed)
    samples = np.empty((replicates, values.shape[1]))
    step = max(1, _CELLS // max(len(distinct), 1))
    for start in range(0, replicates, step):
        weights = _draw(generator, min(step, replicates - start), len(distinct))
        samples[start : start + step] = _ratio(weights @ sums, weights @ counts)
    return Resampled(_ratio(sums.sum(axis=0), counts.sum(axis=0)), samples)


def interval(samples: Float64Array, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of one column's `samples` [replicates]; NaN where no resample has the group."""
    usable = samples[np.isfinite(samples)]
    if not len(usable):
        return float("nan"), float("nan")
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draw(generator: np.random.Generator, replicates: int, users: int) -> Float64Array:
    """How often each user is drawn in each replicate, float64 [replicates, users]."""
    drawn = generator.integers(users, size=(replicates, users)) + users * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * users).reshape(replicates, users).astype(np.float64)


def _sum_by(user: NDArray[np.int64], values: NDArray[np.floating] | NDArray[np.bool_], users: int) -> Float64Array:
    totals = np.zeros((users, values.shape[1]))
    order = np.argsort(user, kind="stable")
    first = np.searchsorted(user[order], np.arange(users))
    if len(user):
        totals = np.add.reduceat(values[order].astype(np.float64), first, axis=0)
    return totals


def _ratio(sums: Float64Array, counts: Float64Array) -> Float64Array:
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)
