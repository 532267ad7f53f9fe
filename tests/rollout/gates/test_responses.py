"""What else users do, as gates: purchases, hides, dwell time."""

from __future__ import annotations

import numpy as np
import pytest

from pagoda.errors import ConfigError
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.gates.online import judge_online
from pagoda.rollout.measures.base import ArmMeasure, Measures, UserSums
from pagoda.rollout.online_gates import OnlineGates, OutcomeGate
from pagoda.rollout.policy import RolloutPolicy, ShadowStep, Step, parse_policy

PURCHASE = OutcomeGate(event="purchase")
HIDE = OutcomeGate(event="hide", worse="higher", tolerance=0.05)
DWELL = OutcomeGate(column="dwell_seconds", cap=600, minimum_users=50)
POLICY = RolloutPolicy(online=OnlineGates(outcomes=(PURCHASE, HIDE, DWELL)))
NAMES = ("purchase", "hide", "dwell_seconds")
USUAL = (0.05, 0.02, 0.04)


def arm(rates: tuple[float, ...], users: int = 4_000) -> ArmMeasure:
    """An arm whose users had ten answers each, and did so much of each outcome an answer."""
    rng, n = np.random.default_rng(0), np.full(users, 10)
    clicks = UserSums.of(n, rng.binomial(n, 0.1))
    return ArmMeasure(clicks=clicks, outcomes=tuple(UserSums.of(n, rng.binomial(n, one)) for one in rates))


def judged(canary: tuple[float, ...], stable: tuple[float, ...] = USUAL, users: int = 4_000) -> dict[str, GateResult]:
    measures: Measures = {"stable": arm(stable), "canary": arm(canary, users)}
    return {one.gate: one for one in judge_online(POLICY, Step(percent=50), measures, None)}


def test_equal_arms_pass() -> None:
    found = judged(USUAL)
    assert [found[name].verdict for name in NAMES] == [Verdict.PASSED] * 3


@pytest.mark.parametrize(
    ("canary", "condemned"),
    [
        ((0.03, 0.02, 0.04), "purchase"),
        ((0.05, 0.04, 0.04), "hide"),
        ((0.05, 0.02, 0.02), "dwell_seconds"),
        ((0.09, 0.005, 0.08), ""),
    ],
)
def test_each_condemns_what_is_worse_by_its_own_lights_and_nothing_else(
    canary: tuple[float, ...], condemned: str
) -> None:
    found = judged(canary)
    failed = [name for name, one in found.items() if one.verdict is Verdict.FAILED]
    assert failed == ([condemned] if condemned else [])
    for name in NAMES:
        one = found[name]
        assert one.low is not None and one.high is not None and one.value is not None
        assert one.low < one.value < one.high


def test_figures_are_told_in_the_columns_own_unit() -> None:
    detail = judged((0.05, 0.02, 0.04))["dwell_seconds"].detail
    seconds = float(detail.split("an answer ")[1].split(" against")[0])
    assert seconds == pytest.approx(0.04 * 600, rel=0.1)


def test_nothing_yet_holds_where_less_is_worse_and_passes_where_more_is() -> None:
    found = judged((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert [found[name].verdict for name in NAMES] == [Verdict.HELD, Verdict.PASSED, Verdict.HELD]
    assert "no purchase yet" in found["purchase"].detail


def test_few_users_hold_however_bad_it_looks() -> None:
    found = judged((0.0, 0.5, 0.0), users=40)
    assert [found[name].verdict for name in NAMES] == [Verdict.HELD] * 3


def test_before_anything_was_read_they_hold_and_a_shadow_has_none() -> None:
    step, shadow = Step(percent=50), ShadowStep()
    held = {one.gate: one.verdict for one in judge_online(POLICY, step, {}, None)}
    assert [held[name] for name in NAMES] == [Verdict.HELD] * 3
    assert not {one.gate for one in judge_online(POLICY, shadow, {}, None)}.intersection(NAMES)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ("[{}]", "name an event"),
        ("[{column: dwell_seconds}]", "'dwell_seconds' is a column, so give it one"),
        ("[{event: purchase, cap: 2}]", "'purchase' counts events, so leave it out"),
        ("[{event: hide}, {event: hide, worse: higher}]", "'hide' is named twice"),
        ("[{event: errors}]", "'errors' is the name of another gate"),
        ("[{event: hide, worse: more}]", "worse"),
        ("[{events: hide}]", "events"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(outcomes: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_policy(f"online: {{outcomes: {outcomes}}}", "policy.yaml")


def test_an_outcome_counts_its_own_events_and_columns_up_to_the_cap() -> None:
    price = OutcomeGate(event="purchase", column="price", cap=100)
    assert price.name == "purchase.price"
    assert price.value("purchase", {"price": 30}) == 30 and price.value("purchase", {"price": 1e9}) == 100
    assert price.value("click", {"price": 30}) == price.value("purchase", {}) == price.value("purchase", {"price": -5})
    assert DWELL.value("click", {"dwell_seconds": None}) == 0 and PURCHASE.value("purchase", {}) == 1
