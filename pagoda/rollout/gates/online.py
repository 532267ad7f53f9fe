"""Online gates: the canary arm against the stable arm, while users are in both.

Every gate may be looked at after every request. Each tests, in each phase anew, at its level `policy.alpha(gate)`.
These levels add up to the family error, so by the union bound a candidate that is no worse is rolled back by any of
them, ever, with at most that probability. A phase is tested anew because shares change between phases: counts pooled
over them would compare a stable arm of the morning with a canary of the evening (Simpson's paradox).

Errors and latency are tested request by request and window by window, since a fault must be seen at once. Clicks,
short answers and fallbacks are tested with users as the unit, because users, not requests, were put into arms at
random and one user's requests resemble each other. A returning user's later requests are correlated with his earlier
ones, positively. That only makes the standardised difference move less than the Brownian motion for which the
boundary is made (Slepian's inequality), so the levels still hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pagoda.generations.arms import ARMS
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.gates.sequential_tests import log_e_restarted, mixture_radius
from pagoda.rollout.measures.base import ArmMeasure, Counts, Measures, Requests, UserSums
from pagoda.rollout.policy import ClickGate, ClusterGate, LatencyGate, RateGate, RolloutPolicy, ShadowStep, Stay

_LEAST_VARIANCE = 1.0
"""Added to the sum of squared residuals: before the first hit the variance is small, not zero."""


def judge_online(policy: RolloutPolicy, stay: Stay, measures: Measures, limit_ms: float | None) -> list[GateResult]:
    """Every online gate of one phase, on what was measured since the phase began.

    Args:
        stay: The phase; its minimum of requests is a gate too.
        limit_ms: The latency limit that the record of this phase fixed, None when there is none.
    """
    stable, canary = (measures.get(arm, ArmMeasure()) for arm in ARMS)
    gates = policy.online
    results = [_enough(stay, stable.requests, canary.requests)]
    if gates.errors:
        results.append(_errors(gates.errors, policy.alpha("errors"), stable.requests, canary.requests))
    if gates.latency and limit_ms is not None:
        results.append(_latency(gates.latency, policy.alpha("latency"), stable.requests, canary.requests, limit_ms))
    if gates.short_answers:
        alpha = policy.alpha("short_answers")
        results.append(_share(gates.short_answers, alpha, "short_answers", stable.short_answers, canary.short_answers))
    if gates.fallbacks:
        alpha = policy.alpha("fallbacks")
        results.append(_share(gates.fallbacks, alpha, "fallbacks", stable.fallbacks, canary.fallbacks))
    if gates.clicks and not isinstance(stay, ShadowStep):  # Nobody sees what a shadow answers.
        results.append(_clicks(gates.clicks, policy.alpha("clicks"), stable.clicks, canary.clicks))
    return results


def latency_limit(gate: LatencyGate, stable: Requests, minimum_requests: int) -> float | None:
    """The limit to fix for the next phase from what the stable arm did up to now; None before it has done enough."""
    if stable.p99_ms is None or stable.count < minimum_requests:
        return None
    return max(gate.floor_ms, gate.ratio * stable.p99_ms)


def _enough(stay: Stay, stable: Requests, canary: Requests) -> GateResult:
    fewest = min(stable.count, canary.count)
    return GateResult(
        gate="requests",
        verdict=Verdict.PASSED if fewest >= stay.minimum_requests else Verdict.HELD,
        detail=f"stable {stable.count}, canary {canary.count} requests; each needs {stay.minimum_requests}",
        value=fewest,
        limit=stay.minimum_requests,
    )


def _errors(gate: RateGate, alpha: float, stable: Requests, canary: Requests) -> GateResult:
    streams = _Streams(canary.errors, canary.total, stable.errors, stable.total)
    return _excess("errors", gate, alpha, streams, f"requests that failed: {streams}")


def _latency(gate: LatencyGate, alpha: float, stable: Requests, canary: Requests, limit_ms: float) -> GateResult:
    streams = _Streams(canary.slow, canary.total, stable.slow, stable.total)
    p99 = f"p99 {_ms(canary.p99_ms)} against {_ms(stable.p99_ms)}"
    return _excess("latency", gate, alpha, streams, f"requests over {limit_ms:.0f} ms: {streams}; {p99}")


@dataclass(frozen=True)
class _Streams:
    """Bad requests and all requests of each arm, [W] each."""

    bad: Counts
    total: Counts
    stable_bad: Counts
    stable_total: Counts

    @property
    def rates(self) -> tuple[float, float]:
        bad, total, stable_bad, stable_total = (float(column.sum()) for column in self.columns)
        return _rate(bad, total), _rate(stable_bad, stable_total)

    @property
    def columns(self) -> tuple[Counts, Counts, Counts, Counts]:
        return self.bad, self.total, self.stable_bad, self.stable_total

    def __str__(self) -> str:
        canary, stable = self.rates
        return f"{canary:.2%} of the canary's against {stable:.2%}"


def _excess(name: str, gate: RateGate, alpha: float, streams: _Streams, detail: str) -> GateResult:
    log_e, needed = log_e_restarted(np.stack(streams.columns), gate.tolerance), math.log(1 / alpha)
    canary, stable = streams.rates
    return GateResult(
        gate=name,
        verdict=Verdict.FAILED if log_e >= needed else Verdict.PASSED,
        detail=f"{detail} (evidence of an excess e^{log_e:.1f}, e^{needed:.1f} condemns)",
        value=canary - stable,
        limit=gate.tolerance,
    )


def _share(gate: ClusterGate, alpha: float, name: str, stable: UserSums, canary: UserSums) -> GateResult:
    difference, error = compare(stable, canary)
    # Tightest at differences of the size of the tolerance, which are those that have to be told apart.
    radius = error * float(mixture_radius((max(gate.tolerance, 0.01) / error) ** 2, alpha))
    low, high = difference - radius, difference + radius
    verdict = _verdict(low > gate.tolerance, gate, stable, canary)
    return GateResult(
        gate=name,
        verdict=verdict,
        detail=f"{_rate(canary.y, canary.n):.2%} of the canary's answers against {_rate(stable.y, stable.n):.2%}; "
        + _users(gate, stable, canary),
        value=difference,
        low=low,
        high=high,
        limit=gate.tolerance,
    )


def _clicks(gate: ClickGate, alpha: float, stable: UserSums, canary: UserSums) -> GateResult:
    difference, error = compare(stable, canary)
    pooled = _rate(stable.y + canary.y, stable.n + canary.n)
    scale = max(pooled, 1e-9)
    radius = error * float(mixture_radius((gate.effect * scale / error) ** 2, alpha))
    low, high = (difference - radius) / scale, (difference + radius) / scale
    if not pooled:
        return GateResult(gate="clicks", verdict=Verdict.HELD, detail=f"no click yet; {_users(gate, stable, canary)}")
    return GateResult(
        gate="clicks",
        verdict=_verdict(high < -gate.tolerance, gate, stable, canary),
        detail=f"{_click_rates(gate, stable, canary)}: {difference / scale:+.1%} [{low:+.1%}, {high:+.1%}]; "
        + _users(gate, stable, canary),
        value=difference / scale,
        low=low,
        high=high,
        limit=-gate.tolerance,
    )


def _click_rates(gate: ClickGate, stable: UserSums, canary: UserSums) -> str:
    ours, theirs = _rate(canary.y, canary.n), _rate(stable.y, stable.n)
    if gate.weights is None:
        return f"click-through {ours:.3%} against {theirs:.3%}"
    return f"clicks an answer, weighed by place and propensity, {ours:.4g} against {theirs:.4g}"


def compare(stable: UserSums, canary: UserSums) -> tuple[float, float]:
    """Difference of the two arms' rates and its standard error under the null hypothesis that they are one.

    Rates are ratios of sums over users; the error is that of the delta method, with residuals y_u - p n_u around the
    pooled rate p user by user (Deng, Knoblich & Lu 2018, "Applying the delta method in metric analytics").
    """
    pooled = _rate(stable.y + canary.y, stable.n + canary.n)
    variance = sum(_variance(arm, pooled) for arm in (stable, canary))
    return _rate(canary.y, canary.n) - _rate(stable.y, stable.n), math.sqrt(variance)


def _variance(arm: UserSums, pooled: float) -> float:
    if arm.n == 0:
        return 1.0
    squares = arm.yy - 2 * pooled * arm.ny + pooled**2 * arm.nn
    return (squares + _LEAST_VARIANCE) / arm.n**2 * arm.users / max(arm.users - 1, 1)


def _verdict(bad: bool, gate: ClusterGate, stable: UserSums, canary: UserSums) -> Verdict:
    # Held also where it looks bad: the interval is asymptotic, and of few users it says too much.
    if min(stable.effective_users, canary.effective_users) < gate.minimum_users:
        return Verdict.HELD
    return Verdict.FAILED if bad else Verdict.PASSED


def _users(gate: ClusterGate, stable: UserSums, canary: UserSums) -> str:
    fewest = min(stable.effective_users, canary.effective_users)
    return f"{fewest:.0f} effective users of the {gate.minimum_users} needed"


def _rate(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"
