"""Tests with users as the unit: users, not requests, were put into arms at random, and one user's requests resemble
each other.

A returning user's later requests are correlated with his earlier ones, positively. That only makes the standardised
difference move less than the Brownian motion for which the boundary is made (Slepian's inequality), so the levels still
hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.gates.sequential_tests import mixture_radius
from pagoda.rollout.measures.base import ChannelSums, UserSums
from pagoda.rollout.online_gates import ClusterGate, FallbackGate, ResponseGate

_LEAST_VARIANCE = 1.0
"""Added to the sum of squared residuals: before the first hit the variance is small, not zero."""


@dataclass(frozen=True)
class Response:
    """What users do with answers, as its gate calls it and tells of it."""

    name: str
    words: str
    """What stands before the figures."""
    one: str
    """Of which there may be none yet."""
    unit: float | None = None
    """What one in the sums means; None: the sums are of answers, and told in percent."""
    worse: Literal["lower", "higher"] = "lower"

    def told(self, stable: UserSums, canary: UserSums) -> str:
        """Both arms' rates."""
        rates = [rate(arm.y, arm.n) for arm in (canary, stable)]
        ours, theirs = (f"{one:.3%}" if self.unit is None else f"{one * self.unit:.4g}" for one in rates)
        return f"{self.words} {ours} against {theirs}"


class _Interval(NamedTuple):
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.1%} [{self.low:+.1%}, {self.high:+.1%}]"


def judge_share(gate: ClusterGate, alpha: float, name: str, stable: UserSums, canary: UserSums) -> GateResult:
    """Whether more of the canary's answers are of a kind, by more than `gate.tolerance` (absolute)."""
    difference, error = compare(stable, canary)
    # Tightest at differences of the size of the tolerance, which are those that have to be told apart.
    radius = error * float(mixture_radius((max(gate.tolerance, 0.01) / error) ** 2, alpha))
    low, high = difference - radius, difference + radius
    verdict = _verdict(low > gate.tolerance, gate, stable, canary)
    return GateResult(
        gate=name,
        verdict=verdict,
        detail=f"{rate(canary.y, canary.n):.2%} of the canary's answers against {rate(stable.y, stable.n):.2%}; "
        + _users(gate, stable, canary),
        value=difference,
        low=low,
        high=high,
        limit=gate.tolerance,
    )


def judge_response(
    response: Response, gate: ResponseGate, alpha: float, stable: UserSums, canary: UserSums
) -> GateResult:
    """Whether users do less of something with the canary's answers, or more where that is worse, by more than
    `gate.tolerance` (relative to both arms together)."""
    difference, error = compare(stable, canary)
    pooled = rate(stable.y + canary.y, stable.n + canary.n)
    scale = max(pooled, 1e-9)
    radius = error * float(mixture_radius((gate.effect * scale / error) ** 2, alpha))
    found = _Interval(difference / scale, (difference - radius) / scale, (difference + radius) / scale)
    users, higher = _users(gate, stable, canary), response.worse == "higher"
    if not pooled:
        # Where more is worse, none is fine; where less is, it may as well be that nobody sends them.
        verdict = _verdict(False, gate, stable, canary) if higher else Verdict.HELD
        return GateResult(gate=response.name, verdict=verdict, detail=f"no {response.one} yet; {users}")
    bad = found.low > gate.tolerance if higher else found.high < -gate.tolerance
    return GateResult(
        gate=response.name,
        verdict=_verdict(bad, gate, stable, canary),
        detail=f"{response.told(stable, canary)}: {found}; {users}",
        **found._asdict(),
        limit=gate.tolerance if higher else -gate.tolerance,
    )


def judge_channel(
    gate: FallbackGate, alpha: float, channel: str, stable: ChannelSums, canary: ChannelSums
) -> GateResult:
    """Whether a channel gives less in the canary arm, of the items or of the candidates, by more than
    `gate.channel_drop` (relative to the stable arm)."""
    drop = gate.channel_drop or 0.0
    told, falls = [], []
    for part, ours, theirs in zip(("items", "candidates"), canary, stable, strict=True):
        rates = f"{rate(ours.y, ours.n):.2%} of the {part} against {rate(theirs.y, theirs.n):.2%}"
        fall = _change(drop, alpha, theirs, ours)
        told.append(f"{rates}: {fall}" if fall else rates)
        falls += [fall] if fall else []
    worst = min(falls, key=lambda fall: fall.high, default=None)
    return GateResult(
        gate=f"fallbacks.{channel}",
        verdict=_verdict(worst is not None and worst.high < -drop, gate, stable.items, canary.items),
        detail="; ".join([*told, _users(gate, stable.items, canary.items)]),
        **(worst._asdict() if worst else {}),
        limit=-drop,
    )


def _change(drop: float, alpha: float, stable: UserSums, canary: UserSums) -> _Interval | None:
    """What the canary's rate is relative to the stable arm's, less 1; None where that has nothing to fall from.

    By the delta method with the variance of a user that both arms have, each about its own rate: a canary without any
    would say that users do not differ, and around a pooled rate that they differ as much as the arms do.
    """
    base = rate(stable.y, stable.n)
    if not base or not canary.n:
        return None
    squares = sum(_squares(arm, rate(arm.y, arm.n)) for arm in (stable, canary)) + _LEAST_VARIANCE * base**2
    spread = squares / (stable.nn + canary.nn)
    error = math.sqrt(spread / stable.effective_users + spread / canary.effective_users) / base
    # Tightest where a channel that gives nothing is told from one that gives as little as is fine.
    radius = error * float(mixture_radius(((1 - drop) / error) ** 2, alpha))
    change = rate(canary.y, canary.n) / base - 1
    return _Interval(change, change - radius, change + radius)


def compare(stable: UserSums, canary: UserSums) -> tuple[float, float]:
    """Difference of the two arms' rates and its standard error under the null hypothesis that they are one.

    Rates are ratios of sums over users; the error is that of the delta method, with residuals y_u - p n_u around the
    pooled rate p user by user (Deng, Knoblich & Lu 2018, "Applying the delta method in metric analytics").
    """
    pooled = rate(stable.y + canary.y, stable.n + canary.n)
    variance = sum(_variance(arm, pooled) for arm in (stable, canary))
    return rate(canary.y, canary.n) - rate(stable.y, stable.n), math.sqrt(variance)


def rate(part: float, whole: float) -> float:
    """`part` of `whole`, 0 of nothing."""
    return part / whole if whole else 0.0


def _variance(arm: UserSums, pooled: float) -> float:
    if arm.n == 0:
        return 1.0
    return (_squares(arm, pooled) + _LEAST_VARIANCE) / arm.n**2 * arm.users / max(arm.users - 1, 1)


def _squares(arm: UserSums, centre: float) -> float:
    """Sum over users of (y_u - centre · n_u)²."""
    return arm.yy - 2 * centre * arm.ny + centre**2 * arm.nn


def _verdict(bad: bool, gate: ClusterGate, stable: UserSums, canary: UserSums) -> Verdict:
    # Held also where it looks bad: the interval is asymptotic, and of few users it says too much.
    if min(stable.effective_users, canary.effective_users) < gate.minimum_users:
        return Verdict.HELD
    return Verdict.FAILED if bad else Verdict.PASSED


def _users(gate: ClusterGate, stable: UserSums, canary: UserSums) -> str:
    fewest = min(stable.effective_users, canary.effective_users)
    return f"{fewest:.0f} effective users of the {gate.minimum_users} needed"
