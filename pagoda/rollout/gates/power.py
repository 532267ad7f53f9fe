"""What the online gates do before they are trusted.

How often they roll back a candidate that is no worse, and how soon one that is worse. Simulated users differ in
activity and in how much they click; they return, and stay in their arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pagoda.generations.arms import ARMS, Arm
from pagoda.rollout.gate_results import failed
from pagoda.rollout.gates.online import judge_online
from pagoda.rollout.measures.base import ArmMeasure, Counts, Requests, UserSums
from pagoda.rollout.policy import RolloutPolicy, Step

_LIMIT_MS = 100.0


@dataclass(frozen=True)
class PowerWorld:
    """Users and their requests; every share is of one request."""

    users: int = 5_000
    requests: int = 500
    """In one window."""
    windows: int = 40
    """In one phase."""
    click_rate: float = 0.1
    click_spread: float = 20.0
    """Users' own click rates are Beta distributed with this concentration; smaller means that they differ more."""
    activity_spread: float = 1.0
    """Standard deviation of the logarithm of users' activity."""
    error_rate: float = 0.002
    slow_rate: float = 0.005
    short_rate: float = 0.01
    fallback_share: float = 0.03
    """Of users: those that are unknown, so that each of their answers is a fallback."""


@dataclass(frozen=True)
class Harm:
    """What is wrong with the canary; nothing by default, which is an A/A rollout."""

    click_drop: float = 0.0
    """Relative."""
    error_rate: float = 0.0
    slow_rate: float = 0.0
    from_window: int = 0
    """First bad window of each phase."""


@dataclass(frozen=True)
class Simulated:
    """How one rollout ended."""

    rolled_back: bool
    gates: tuple[str, ...]
    """Those that failed."""
    step: int
    window: int
    """Of that step, when it ended."""
    requests: int
    """Both arms, all steps."""


@dataclass(frozen=True)
class FalsePositives:
    """A/A rollouts, and how many of them were rolled back."""

    runs: int
    rolled_back: int


def simulate_aa(policy: RolloutPolicy, runs: int, *, world: PowerWorld | None = None, seed: int = 0) -> FalsePositives:
    """Roll out `runs` candidates that equal their champion, looking at every gate after every window."""
    ends = [simulate(policy, world or PowerWorld(), Harm(), seed + run) for run in range(runs)]
    return FalsePositives(runs, sum(end.rolled_back for end in ends))


def simulate(policy: RolloutPolicy, world: PowerWorld, harm: Harm, seed: int) -> Simulated:
    """One rollout through all steps of `policy`, judged after every window."""
    rng = np.random.default_rng(seed)
    population = _Population.draw(world, rng)
    for number, step in enumerate(policy.steps):
        for window, measures in enumerate(_phase(world, harm, population, step, rng), start=1):
            failures = failed(judge_online(policy, step, measures, _LIMIT_MS))
            if failures:
                requests = world.requests * (number * world.windows + window)
                return Simulated(True, tuple(failure.gate for failure in failures), number, window, requests)
    total = world.requests * world.windows * len(policy.steps)
    return Simulated(False, (), len(policy.steps) - 1, world.windows, total)


def requests_to_detect(
    policy: RolloutPolicy, drop: float, *, world: PowerWorld, power: float = 0.8, runs: int = 50, seed: int = 0
) -> float:
    """Requests, of both arms of the last step, within which the share `power` of candidates that lower clicks by `drop`
    (relative) is rolled back; infinite when `world.windows` windows do not suffice."""
    last = policy.model_copy(update={"steps": policy.steps[-1:]})
    # One step is simulated, but each gate keeps the error that it has among all steps.
    alpha = policy.online.family_error * len(last.steps) / len(policy.steps)
    last = last.model_copy(update={"online": policy.online.model_copy(update={"family_error": alpha})})
    ends = [simulate(last, world, Harm(click_drop=drop), seed + run) for run in range(runs)]
    spent = [end.requests if end.rolled_back else np.inf for end in ends]
    return float(np.quantile(spent, power, method="inverted_cdf"))


@dataclass(frozen=True)
class _Population:
    activity: np.ndarray
    clicks: np.ndarray
    unknown: np.ndarray
    position: np.ndarray

    @classmethod
    def draw(cls, world: PowerWorld, rng: np.random.Generator) -> _Population:
        weight = rng.lognormal(0.0, world.activity_spread, world.users)
        rate, spread = world.click_rate, world.click_spread
        clicks = rng.beta(rate * spread, (1 - rate) * spread, world.users)
        unknown = rng.random(world.users) < world.fallback_share
        return cls(weight / weight.sum(), clicks, unknown, rng.random(world.users))


def _phase(
    world: PowerWorld, harm: Harm, population: _Population, step: Step, rng: np.random.Generator
) -> Iterator[dict[Arm, ArmMeasure]]:
    """What is measured after each window of a phase."""
    canary = population.position * 100 < step.percent
    seen, clicked, short = (np.zeros(world.users, np.int64) for _ in range(3))
    requests = dict.fromkeys(ARMS, Requests())
    for window in range(world.windows):
        now = harm if window >= harm.from_window else Harm()
        shown = rng.multinomial(world.requests, population.activity)
        seen += shown
        clicked += rng.binomial(shown, population.clicks * np.where(canary, 1 - now.click_drop, 1.0))
        short += rng.binomial(shown, world.short_rate)
        measures: dict[Arm, ArmMeasure] = {}
        for arm, members, bad in zip(ARMS, (~canary, canary), (Harm(), now), strict=True):
            requests[arm] = _window(requests[arm], int(shown[members].sum()), world, bad, rng)
            fallbacks = seen * population.unknown
            clicks, short_answers, unknown = (
                UserSums.of(seen[members], hits[members]) for hits in (clicked, short, fallbacks)
            )
            measures[arm] = ArmMeasure(requests[arm], clicks, short_answers, unknown)
        yield measures


def _window(before: Requests, total: int, world: PowerWorld, harm: Harm, rng: np.random.Generator) -> Requests:
    errors = rng.binomial(total, max(world.error_rate, harm.error_rate))
    slow = rng.binomial(total, max(world.slow_rate, harm.slow_rate))
    return replace(
        before,
        total=_with(before.total, total),
        errors=_with(before.errors, errors),
        slow=_with(before.slow, slow),
    )


def _with(counts: Counts, count: int) -> Counts:
    return np.append(counts, count)
