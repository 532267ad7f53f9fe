"""A user stays in one arm, and shares are what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.errors import RequestError
from pagoda.rollout.state.split import Split, position

USERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=30))


@given(user=USERS, first=st.integers(1, 99), second=st.integers(1, 99))
def test_a_growing_share_keeps_its_users(user: int | str, first: int, second: int) -> None:
    small, large = sorted((first, second))
    if Split("g1", "g2", small, "r1").choose(user).arm == "canary":
        assert Split("g1", "g2", large, "r1").choose(user).arm == "canary"


@given(user=USERS)
def test_an_arm_never_changes_within_a_step(user: int | str) -> None:
    split = Split("g1", "g2", 50, "r1")
    assert split.choose(user) == split.choose(user)
    assert 0 <= position("r1", user) < 1


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_shares_are_exact_over_many_users(percent: int) -> None:
    users, split = 200_000, Split("g1", "g2", percent, "r7")
    found = sum(split.choose(user).arm == "canary" for user in range(users)) / users
    error = (percent / 100 * (1 - percent / 100) / users) ** 0.5
    assert abs(found - percent / 100) < 4 * error


def test_rollouts_draw_users_anew() -> None:
    both = sum(position("r1", user) < 0.1 and position("r2", user) < 0.1 for user in range(100_000))
    assert 800 < both < 1_200


def test_a_tester_chooses_the_arm_and_is_not_counted() -> None:
    split = Split("g1", "g2", 10, "r1")
    for arm, generation in (("stable", "g1"), ("canary", "g2")):
        choice = split.choose(5, f" {arm.upper()} ")
        assert (choice.arm, choice.generation, choice.counted) == (arm, generation, False)
    assert split.choose(5).counted
    with pytest.raises(RequestError, match="x-pagoda-arm: 'blue'"):
        split.choose(5, "blue")


def test_without_a_canary_everybody_is_stable() -> None:
    split = Split("g1")
    assert {split.choose(user).generation for user in range(100)} == {"g1"}
    assert split.choose(5, "canary").generation == "g1"
