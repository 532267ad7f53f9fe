"""The tests hold their error under continuous looking, and see what they must see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.rollout.gates.sequential_tests import log_e_excess, log_e_restarted, mixture_radius

ALPHA = 0.05
RUNS, REQUESTS = 1_000, 400


@pytest.mark.parametrize(("rate", "tolerance"), [(0.3, 0.0), (0.01, 0.0), (0.002, 0.01)])
def test_looking_after_every_request_rejects_the_truth_no_more_often_than_alpha(rate: float, tolerance: float) -> None:
    rng = np.random.default_rng(1)
    canary = np.cumsum(rng.random((RUNS, REQUESTS)) < rate + tolerance, axis=1)
    stable = np.cumsum(rng.random((RUNS, REQUESTS)) < rate, axis=1)
    total = np.arange(1, REQUESTS + 1)
    ever = (log_e_excess(canary, total, stable, total, tolerance) >= math.log(1 / ALPHA)).any(axis=1)
    assert ever.mean() <= ALPHA


def test_the_evidence_has_mean_one_at_most_under_the_truth() -> None:
    rng = np.random.default_rng(2)
    canary, stable = rng.binomial(60, 0.2, 200_000), rng.binomial(500, 0.2, 200_000)
    assert np.exp(log_e_excess(canary, 60, stable, 500, 0.0)).mean() <= 1


@given(
    bad=st.integers(0, 50),
    fine=st.integers(0, 50),
    stable_bad=st.integers(0, 500),
    stable_fine=st.integers(0, 500),
    tolerance=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_no_excess_is_no_evidence(bad: int, fine: int, stable_bad: int, stable_fine: int, tolerance: float) -> None:
    n, m = bad + fine, stable_bad + stable_fine
    log_e = float(log_e_excess(bad, n, stable_bad, m, tolerance))
    assert math.isfinite(log_e)
    if bad * m <= stable_bad * n:
        assert log_e <= 1e-6
    more = float(log_e_excess(bad + 1, n + 1, stable_bad, m, tolerance))
    assert more >= log_e - math.log(2) - 1e-6, "one more failure never speaks for the canary beyond its prior"


def test_a_few_failures_in_a_row_condemn() -> None:
    assert float(log_e_excess(6, 6, 1, 600, 0.01)) > math.log(1 / 0.001)


def test_a_failure_of_both_arms_condemns_nobody() -> None:
    windows = np.array([[0, 0, 9, 10], [10, 10, 10, 10], [0, 0, 83, 90], [90, 90, 90, 90]])
    assert log_e_restarted(windows, 0.01) < 0.7


@pytest.mark.parametrize("past", [0, 10, 700, 17_000])
def test_a_long_good_past_does_not_hide_a_sudden_fault(past: int) -> None:
    counts = np.repeat([[0], [50], [1], [450]], past + 1, axis=1)
    counts[0, -1] = 50
    assert log_e_restarted(counts, 0.01) > math.log(1 / 0.0005)


def test_restarts_keep_the_error() -> None:
    rng, reject = np.random.default_rng(3), 0
    for _ in range(120):
        windows = np.stack([rng.binomial(5, 0.02, 40), np.full(40, 5), rng.binomial(45, 0.02, 40), np.full(40, 45)])
        reject += any(log_e_restarted(windows[:, :end], 0.0) >= math.log(1 / ALPHA) for end in range(1, 41, 3))
    assert reject / 120 <= ALPHA


def test_the_confidence_sequence_covers_at_all_times() -> None:
    rng = np.random.default_rng(4)
    sums = np.cumsum(rng.standard_normal((RUNS, 2_000)), axis=1)
    n = np.arange(1, 2_001)
    for tau in (0.05, 0.5):
        radius = mixture_radius(tau**2 * n, ALPHA)
        assert (sums / np.sqrt(n) > radius).any(axis=1).mean() <= ALPHA


@given(st.floats(1e-3, 1e6), st.sampled_from([0.05, 0.01, 1e-4]))
def test_the_radius_solves_its_equation(precision: float, alpha: float) -> None:
    from scipy.stats import norm

    z = float(mixture_radius(precision, alpha))
    u = z * math.sqrt(precision / (1 + precision))
    log_e = math.log(2) + norm.logcdf(u) + u * u / 2 - 0.5 * math.log1p(precision)
    assert log_e == pytest.approx(math.log(1 / alpha), abs=1e-2)
