"""A channel that gives less in the canary arm is a fallback."""

from __future__ import annotations

import numpy as np
import pytest

from pagoda.rollout.gate_results import GateResult, Verdict, failed
from pagoda.rollout.gates.online import judge_online
from pagoda.rollout.measures.base import ArmMeasure, ChannelSums, UserSums
from pagoda.rollout.online_gates import FallbackGate, OnlineGates
from pagoda.rollout.policy import FULL, RolloutPolicy, Step

STEP = Step(percent=10)


def arm(users: int, *, knows: float = 0.8, items: float = 0.2, candidates: float = 0.9, seed: int = 0) -> ArmMeasure:
    """Users with five answers each; of the share `knows` of them the channel `item_to_item` knows something."""
    rng, n = np.random.default_rng(seed), np.full(users, 5)
    of = (rng.random(users) < knows) * rng.uniform(0.5, 1.5, users)
    one = ChannelSums(UserSums.of(n, n * of * items), UserSums.of(n, n * of * candidates))
    towers = ChannelSums(UserSums.of(n, n * 0.8), UserSums.of(n, n))
    nothing = UserSums.of(n, 0 * n)
    return ArmMeasure(fallbacks=nothing, channels={"two_tower": towers, "item_to_item": one})


def judged(stable: ArmMeasure, canary: ArmMeasure, policy: RolloutPolicy = FULL) -> dict[str, GateResult]:
    return {one.gate: one for one in judge_online(policy, STEP, {"stable": stable, "canary": canary}, None)}


def test_equal_arms_pass_and_each_channel_has_its_figures() -> None:
    found = judged(arm(4_000), arm(400, seed=1))
    for channel in ("two_tower", "item_to_item"):
        one = found[f"fallbacks.{channel}"]
        assert one.verdict is Verdict.PASSED
        assert one.low is not None and one.high is not None and one.low < (one.value or 0.0) < one.high


def test_a_channel_that_answers_nothing_is_seen_within_the_minimum_sample() -> None:
    """`minimum_requests` are 1,000 in each arm: of 200 users here."""
    found = judged(arm(4_000), arm(200, items=0.0, candidates=0.0))
    assert [one.gate for one in failed(found.values())] == ["fallbacks.item_to_item"]
    assert found["fallbacks.item_to_item"].value == -1


@pytest.mark.parametrize(("items", "candidates"), [(0.2, 0.05), (0.01, 0.9)])
def test_either_the_answers_or_the_candidates_condemn(items: float, candidates: float) -> None:
    found = judged(arm(4_000), arm(2_000, items=items, candidates=candidates))
    assert [one.gate for one in failed(found.values())] == ["fallbacks.item_to_item"]


def test_a_fall_within_the_tolerance_passes_and_the_policy_sets_it() -> None:
    stable, canary = arm(4_000), arm(4_000, items=0.14, seed=1)
    assert judged(stable, canary)["fallbacks.item_to_item"].verdict is Verdict.PASSED
    strict = RolloutPolicy(online=OnlineGates(fallbacks=FallbackGate(channel_drop=0.1)))
    assert judged(stable, canary, strict)["fallbacks.item_to_item"].verdict is Verdict.FAILED


def test_a_channel_of_few_users_is_not_condemned_for_the_few_that_the_canary_happens_to_lack() -> None:
    """Of 60 users none is among the twentieth that it knows, once in 20 times: chance, and the stable arm shows it."""
    found = judged(arm(4_000, knows=0.05), arm(60, knows=0.0))
    assert found["fallbacks.item_to_item"].verdict is Verdict.PASSED


def test_few_users_hold_and_a_channel_of_which_the_stable_arm_has_nothing_passes() -> None:
    assert judged(arm(4_000), arm(30, items=0.0))["fallbacks.item_to_item"].verdict is Verdict.HELD
    assert judged(arm(4_000), ArmMeasure())["fallbacks.item_to_item"].verdict is Verdict.HELD
    assert judged(arm(400, knows=0.0), arm(400))["fallbacks.item_to_item"].verdict is Verdict.PASSED


def test_where_no_channel_is_compared_the_gate_is_what_it_was() -> None:
    plain = ArmMeasure(fallbacks=arm(400).fallbacks)
    off = RolloutPolicy(online=OnlineGates(fallbacks=FallbackGate(tolerance=0.02, channel_drop=None)))
    alone = judged(plain, plain)
    assert judged(arm(400), arm(400), off) == alone
    assert [name for name in alone if name.startswith("fallbacks")] == ["fallbacks"]


def test_equal_arms_are_condemned_at_no_look() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        users, knows = 2_000, rng.choice([0.05, 0.5, 0.9])
        canary = rng.random(users) < 0.1
        of = (rng.random(users) < knows) * rng.uniform(0, 1, users)
        n = np.zeros(users)
        for _ in range(20):
            n += rng.poisson(rng.lognormal(-2, 1, users))
            sums = [UserSums.of(n[among], (n * of)[among]) for among in (~canary, canary)]
            stable, other = (ArmMeasure(channels={"popular": ChannelSums(one, one)}) for one in sums)
            assert judged(stable, other)["fallbacks.popular"].verdict is not Verdict.FAILED
