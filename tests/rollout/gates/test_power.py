"""How often the default gates roll back what is no worse, and how soon what is."""

from __future__ import annotations

import pytest

from pagoda.rollout.gates.power import Harm, PowerWorld, requests_to_detect, simulate, simulate_aa
from pagoda.rollout.policy import FULL

SMALL = PowerWorld(users=1_500, requests=250, windows=24)
"""50 requests a second, two minutes a step."""


def test_candidates_that_are_no_worse_are_promoted() -> None:
    assert simulate_aa(FULL, 8, world=SMALL).rolled_back == 0


@pytest.mark.parametrize("harm", [Harm(error_rate=1.0), Harm(slow_rate=1.0), Harm(error_rate=0.5), Harm(slow_rate=0.5)])
@pytest.mark.parametrize("from_window", [0, 20])
def test_a_fault_ends_the_rollout_within_three_windows(harm: Harm, from_window: int) -> None:
    tenth = FULL.model_copy(update={"steps": FULL.steps[1:]})
    end = simulate(tenth, SMALL, Harm(**{**vars(harm), "from_window": from_window}), seed=5)
    assert end.rolled_back and end.step == 0
    assert end.window - from_window <= 3, "windows are 5 s long, and the driver looks every 2 s"


def test_half_the_clicks_gone_is_seen_in_minutes() -> None:
    end = simulate(FULL, SMALL, Harm(click_drop=0.5), seed=3)
    assert end.rolled_back and end.gates == ("clicks",)


@pytest.mark.long
def test_at_most_five_percent_of_200_rollouts_are_rolled_back_for_nothing() -> None:
    for world in (
        PowerWorld(),
        PowerWorld(users=1_000, requests=200, activity_spread=1.5, click_spread=5.0, windows=60),
    ):
        assert simulate_aa(FULL, 200, world=world).rolled_back <= 10


@pytest.mark.long
def test_a_drop_of_five_percent_is_found_within_the_stated_requests() -> None:
    many = PowerWorld(users=400_000, requests=20_000, windows=40, activity_spread=0.5, click_spread=200.0)
    assert requests_to_detect(FULL, 0.05, world=many, runs=20) <= 300_000
