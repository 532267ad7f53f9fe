"""Online gates: the canary arm against the stable arm, while users are in both.

Every gate may be looked at after every request. Each tests, in each phase anew, at its level `policy.alpha(gate)`.
These levels add up to the family error, so by the union bound a candidate that is no worse is rolled back by any of
them, ever, with at most that probability. A phase is tested anew because shares change between phases: counts pooled
over them would compare a stable arm of the morning with a canary of the evening (Simpson's paradox).

Errors and latency are tested request by request and window by window, since a fault must be seen at once; all others
with users as the unit (`cluster_tests`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pagoda.generations.arms import ARMS
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.gates.cluster_tests import Response, judge_channel, judge_response, judge_share, rate
from pagoda.rollout.gates.sequential_tests import log_e_restarted
from pagoda.rollout.measures.base import ArmMeasure, ChannelSums, Counts, Measures, Requests, UserSums
from pagoda.rollout.online_gates import FallbackGate, LatencyGate, OutcomeGate, RateGate
from pagoda.rollout.policy import RolloutPolicy, ShadowStep, Stay

_WEIGHED = "an answer, weighed by place and propensity,"


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
        short = stable.short_answers, canary.short_answers
        results.append(judge_share(gates.short_answers, alpha, "short_answers", *short))
    if gates.fallbacks:
        results += _fallbacks(gates.fallbacks, policy.alpha("fallbacks"), stable, canary)
    if not isinstance(stay, ShadowStep):  # Nobody sees what a shadow answers.
        results += _responses(policy, stable, canary)
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


def _fallbacks(gate: FallbackGate, alpha: float, stable: ArmMeasure, canary: ArmMeasure) -> list[GateResult]:
    """Whole answers, and where channels are compared, what each gives: all of these share the gate's error."""
    channels = sorted(stable.channels.keys() | canary.channels.keys()) if gate.channel_drop else []
    alpha /= 1 + 2 * len(channels)
    nothing = ChannelSums()
    return [
        judge_share(gate, alpha, "fallbacks", stable.fallbacks, canary.fallbacks),
        *(
            judge_channel(gate, alpha, one, stable.channels.get(one, nothing), canary.channels.get(one, nothing))
            for one in channels
        ),
    ]


def _responses(policy: RolloutPolicy, stable: ArmMeasure, canary: ArmMeasure) -> list[GateResult]:
    """Clicks, and the outcomes that the policy names."""
    results, gates = [], policy.online
    weighed = gates.weights is not None
    if gates.clicks:
        words, unit = (f"clicks {_WEIGHED}", 1.0) if weighed else ("click-through", None)
        response = Response("clicks", words, "click", unit)
        results.append(judge_response(response, gates.clicks, policy.alpha("clicks"), stable.clicks, canary.clicks))
    for number, gate in enumerate(gates.outcomes):
        sums = [arm.outcomes[number] if arm.outcomes else UserSums() for arm in (stable, canary)]
        results.append(judge_response(_response_of(gate, weighed), gate, policy.alpha(gate.name), *sums))
    return results


def _response_of(gate: OutcomeGate, weighed: bool) -> Response:
    if weighed:
        words = f"{gate.name} {_WEIGHED}"
    else:
        words = f"answers with {gate.name}" if gate.cap is None else f"{gate.name} an answer"
    unit = gate.cap or (1.0 if weighed else None)
    return Response(gate.name, words, gate.name, unit, gate.worse)


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
        return rate(bad, total), rate(stable_bad, stable_total)

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


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"
