"""`pagoda ask --explain`: why a user gets what they get, within 80 columns, and whole for scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pagoda.rollout.state.log_reading import split_of
from tests.client.services import EXPLANATION
from tests.serving.console.test_ask import FakeRecall, Installation, installation

__all__ = ["installation"]


class Explaining(FakeRecall):
    """Says it to who asks for it."""

    def answer(self, path: str, arm: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, said = super().answer(path, arm, body)
        if body["instances"][0].get("explain"):
            said["predictions"][0]["explanation"] = EXPLANATION
        return status, said


@pytest.fixture
def explaining(installation: Installation) -> Installation:
    installation.recall = Explaining()
    return installation


def test_a_person_reads_why(explaining: Installation) -> None:
    shown = explaining.see("5", "--k", "3", "--filter", '{"genres": ["Comedy"]}', "--text", "red", "--explain")
    plain, asked = (one for _, one in explaining.recall.asked)
    assert {name: asked[name] for name in ("k", "exclude_seen", "filter", "text")} == {
        name: plain[name] for name in ("k", "exclude_seen", "filter", "text")
    }
    said = " ".join(shown.partition("Why these, by g3 (stable)")[2].split())
    for told in (
        "arm stable: by the user's share; g4 has 10 %",
        "ID row of incremental version 9, 8",
        "profile age 60 (of the request), city a [31m name [red]",
        "interests Drama, Comedy",
        "history 14 events read, the newest 3.0 days old",
        "left out 12 items that the user had, 3 that were removed",
        "filter keeps about 505 of 1,682 items",
        "pre-ranker late, 0 items scored: no answer in time",
        "breakers index recall_v1_0b28 open",
        "ms total 1",
        "two_tower late 25% 250 50 1,000 1,000 1,000",
        "second_generation not_open 1,000 1,000 1,000",
        "two_tower: index recall_v1_0b28: no answer within 0.05 s",
    ):
        assert told in said


def test_the_users_own_arm_is_not_asked_for_and_the_other_is(explaining: Installation) -> None:
    explaining.log.try_out(50)
    split = split_of(explaining.log.state())
    user = next(user for user in range(100) if split and split.choose(user).arm == "canary")
    shown = explaining.see(str(user), "--explain")
    asked = [(arm, instance.get("explain", False)) for arm, instance in explaining.recall.asked]
    assert asked == [("canary", False), ("stable", False), ("", True), ("stable", True)]
    assert shown.count("Why these") == 2


def test_scripts_get_it_whole(explaining: Installation) -> None:
    told = json.loads(explaining.ask("5", "--explain", "--output", "json").stdout)
    assert told["explained"][0]["explanation"] == EXPLANATION
    assert "explained" not in json.loads(explaining.ask("5", "--output", "json").stdout)
