"""Tests that may be looked at after every request: their error holds at all times at once, not at one planned time.

Two streams of Bernoulli outcomes (`log_e_excess`): an e-process by universal inference (Wasserman, Ramdas &
Balakrishnan 2020, "Universal inference", section 8; Ramdas, Grünwald, Vovk & Shafer 2023, "Game-theoretic statistics
and safe anytime-valid inference"). Its numerator is the likelihood averaged over independent Jeffreys priors (a
mixture, so no data is used twice), its denominator the largest likelihood that the null hypothesis allows. Under every
distribution of the null it stays below a test martingale, so by Ville's inequality P(it ever reaches 1/alpha) <= alpha,
exactly and for any sample size. It depends on the counts alone: a restarted driver, or a second one, gets the same.

Means that are clustered by user (`mixture_radius`): the normal-mixture confidence sequence (Robbins 1970; Johari,
Koomen, Pekelis & Walsh 2022, "Always valid inference"; Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform,
nonparametric, nonasymptotic confidence sequences") in its asymptotic form (Waudby-Smith, Arbour, Sinha, Kennedy &
Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences").
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# It imports `special` where that is used first: half a second and 10 MiB, which no driver without a rollout needs.
import scipy

Floats = npt.NDArray[np.float64]
Counts = npt.ArrayLike

_JEFFREYS = 0.5
_HALVINGS = 45


def log_e_excess(bad: Counts, total: Counts, stable_bad: Counts, stable_total: Counts, tolerance: float) -> Floats:
    """Log of the evidence that bad outcomes are more frequent than in the stable arm by more than `tolerance`.

    Args:
        bad: Bad outcomes of the canary, any shape; `total` its outcomes; the stable arm's likewise (they broadcast).
        tolerance: In [0, 1). The null hypothesis is P(bad | canary) <= P(bad | stable) + tolerance.

    Returns:
        Natural logarithm of the e-process, float64; `log(1 / alpha)` or more refutes the null at level alpha.
    """
    counts = (np.asarray(column, np.float64) for column in (bad, total, stable_bad, stable_total))
    x, n, y, m = np.broadcast_arrays(*counts)
    return np.asarray(_log_marginal(x, n) + _log_marginal(y, m) - _log_best_null(x, n, y, m, tolerance))


def log_e_restarted(windows: npt.NDArray[np.int64], tolerance: float) -> float:
    """Log evidence that the excess began in *some* window, so that a long good past does not dilute a sudden fault.

    The average of the e-processes started at every window, with weights 1/(k(k+1)) that sum to one and are fixed in
    advance: an average of e-processes is one. (Idea: Shin, Ramdas & Rinaldo 2022, "E-detectors".)

    Args:
        windows: [4, W] counts by window, oldest first: bad and all of the canary, bad and all of the stable arm.
        tolerance: As for `log_e_excess`.
    """
    if windows.shape[1] == 0:
        return 0.0
    bad, total, stable_bad, stable_total = np.cumsum(windows[:, ::-1], axis=1)[:, ::-1]
    start = np.arange(1, windows.shape[1] + 1)
    logs = log_e_excess(bad, total, stable_bad, stable_total, tolerance) - np.log(start) - np.log1p(start)
    return float(np.logaddexp.reduce(logs))


def mixture_radius(precision: Counts, alpha: float) -> Floats:
    """Half-width, in standard errors, of a confidence sequence; either end is ever wrong with probability alpha.

    Args:
        precision: tau² / (standard error)², where tau is the size of effect at which the sequence is made tightest.
        alpha: For one end alone.

    Returns:
        z such that estimate ± z · standard error holds at all times at once. There the half-normal mixture of normal
        likelihood ratios, 2 Φ(u) exp(u²/2) / √(1 + precision) with u = z √(precision / (1 + precision)), is 1/alpha.
    """
    r = np.asarray(precision, np.float64)
    level = np.maximum(math.log(1 / alpha) - math.log(2) + 0.5 * np.log1p(r), 0.0)
    u = np.sqrt(2 * level)
    for _ in range(3):  # u²/2 + log Φ(u) = level; Φ(u) is nearly 1 there, so this settles at once.
        u = np.sqrt(2 * (level - scipy.special.log_ndtr(u)))
    return np.asarray(u * np.sqrt((1 + r) / r))


def _log_marginal(bad: Floats, total: Floats) -> Floats:
    return np.asarray(
        scipy.special.betaln(bad + _JEFFREYS, total - bad + _JEFFREYS) - scipy.special.betaln(_JEFFREYS, _JEFFREYS)
    )


def _log_likelihood(bad: Floats, total: Floats, p: Floats) -> Floats:
    return np.asarray(scipy.special.xlogy(bad, p) + scipy.special.xlog1py(total - bad, -p))


def _log_best_null(x: Floats, n: Floats, y: Floats, m: Floats, tolerance: float) -> Floats:
    """The largest log-likelihood of both arms with p <= q + tolerance."""
    p, q = _share(x, n), _share(y, m)
    best = np.atleast_1d(_log_likelihood(x, n, p) + _log_likelihood(y, m, q))
    over = np.atleast_1d(p > q + tolerance)
    if over.any():  # Only there the null binds; most looks are spared the search.
        x, n, y, m = (np.atleast_1d(counts)[over] for counts in (x, n, y, m))
        edge = _best_on_edge(x, n, y, m, tolerance)
        best[over] = _log_likelihood(x, n, edge + tolerance) + _log_likelihood(y, m, edge)
    return best.reshape(p.shape)


def _best_on_edge(x: Floats, n: Floats, y: Floats, m: Floats, tolerance: float) -> Floats:
    """The q in [0, 1 - tolerance] that maximises the (concave) log-likelihood with p = q + tolerance, by bisection."""
    low, high = np.zeros_like(x), np.full_like(x, 1 - tolerance)
    for _ in range(_HALVINGS):
        q = (low + high) / 2
        p = q + tolerance
        slope = x / p - (n - x) / (1 - p) + y / q - (m - y) / (1 - q)
        low, high = np.where(slope > 0, q, low), np.where(slope > 0, high, q)
    return (low + high) / 2


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
