"""From a registered candidate to all traffic, or back."""

from __future__ import annotations

import contextlib
import threading

import pytest

from pagoda.config.training import parse_config
from pagoda.errors import ConflictError, IntegrityError
from pagoda.generations.manifest import Mixture
from pagoda.rollout import commands
from pagoda.rollout.driver import Look
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase

from .course import kinds, rollout, start, until
from .worlds import Stage, add_full, evidence, quick


def test_a_good_candidate_takes_every_step(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.FINISHED, turns=200)
    assert kinds(stage) == [
        f"rollout.{kind}" for kind in ("started", "verified", "stepped", "stepped", "promoted", "finished")
    ]
    state = stage.log.state()
    assert state.stable == "g2" and state.arms.canary is None and state.retired == {"g1"}
    stage.turn()
    assert set(stage.servers.loaded) == {"g2"}


def test_every_transition_carries_its_evidence(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.PROMOTED)
    for record in stage.log.state().others[1:]:
        if record.kind in ("rollout.verified", "rollout.promoted"):
            assert record.body["gates"], record.kind
        assert record.body["rollout"] == rollout(stage).id
    assert {gate["gate"] for gate in stage.log.state().others[-1].body["gates"]} == {
        "requests",
        "errors",
        "latency",
        "short_answers",
        "fallbacks",
        "clicks",
    }


def test_channels_are_measured_as_the_log_says_that_both_arms_declare_them(stage: Stage) -> None:
    declared = parse_config("channels: [{kind: two_tower, share: 0.8}, {kind: popular, share: 0.2}]")
    mixture = Mixture(channels=declared.channels, merging=declared.merging, tables={})
    add_full(stage.log, 3, mixture=mixture)
    add_full(stage.log, 4, mixture=mixture)
    stage.log.append("released", {"arms": {"stable": "g3"}, "reason": "has channels"})
    commands.start(stage.log, "g4", policy=quick(), by="test")
    until(stage, Phase.CANARY)
    stage.turn()
    assert stage.metrics.channels == ("popular", "two_tower")


def test_traffic_moves_with_the_record_and_only_once_capacity_is_there(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    split = split_of(stage.log.state())
    assert split is not None and (split.stable, split.canary, split.percent) == ("g1", "g2", 10)
    assert stage.servers.capacity["g2"] >= 10 and stage.servers.whole("g2")
    stage.servers.capacity["g2"] = 10
    stage.turn(15)
    assert rollout(stage).step == 1 and stage.servers.capacity["g2"] >= 50


def test_without_capacity_the_step_waits_and_then_gives_up(stage: Stage) -> None:
    stage.servers.patience = 10_000
    start(stage, prepare_seconds=30)
    stage.turn(25)
    assert rollout(stage).phase is Phase.VERIFIED
    assert "g2 is loading" in stage.driver.reconcile().decision.waits
    stage.turn(10)
    assert rollout(stage).phase is Phase.ROLLED_BACK and "g2 is loading" in rollout(stage).reason


def test_the_first_generation_needs_no_champion() -> None:
    stage = Stage(stable=False)
    stage.evidence = evidence(champion_recall=None)
    commands.start(stage.log, "g1", policy=quick(), by="test")
    until(stage, Phase.FINISHED)
    assert stage.log.state().stable == "g1" and stage.servers.whole("g1")
    with pytest.raises(ConflictError):
        commands.abort(stage.log, by="test")


def test_the_first_generation_cannot_be_taken_back() -> None:
    stage = Stage(stable=False)
    stage.evidence = evidence(champion_recall=None)
    commands.start(stage.log, "g1", policy=quick(), by="test")
    until(stage, Phase.PROMOTED)
    with pytest.raises(ConflictError, match="nothing to go back to"):
        commands.abort(stage.log, by="test")


def test_the_loser_of_two_drivers_changes_nothing(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    stage.turn(10)
    late, overtaken = stage.drive(), []

    def abort_meanwhile(place: str) -> None:
        if place == "status" and not overtaken:
            overtaken.append(place)
            commands.abort(stage.open(), by="ann")
            stage.driver.reconcile()

    stage.servers.hook = abort_meanwhile
    look = late.reconcile()
    assert overtaken and look.lost and not look.decision.acts
    assert rollout(stage).phase is Phase.ROLLED_BACK and stage.servers.percent == 0
    assert kinds(stage).count("rollout.stepped") == 1


def test_a_driver_that_wakes_up_late_does_not_undo_what_happened_meanwhile(stage: Stage) -> None:
    stage.turn()
    late, overtaken = stage.drive(), []

    def roll_out_meanwhile(place: str) -> None:
        if place == "before apply" and not overtaken:
            overtaken.append(place)
            start(stage)
            until(stage, Phase.PROMOTED)

    stage.servers.hook = roll_out_meanwhile
    assert late.reconcile().lost
    assert stage.servers.whole("g2")


@pytest.mark.parametrize("place", ["status", "before apply", "after apply"])
def test_a_crash_loses_nothing(stage: Stage, place: str) -> None:
    class CrashError(Exception):
        pass

    def die(where: str) -> None:
        if where == place:
            raise CrashError

    start(stage)
    while rollout(stage).phase is not Phase.FINISHED:
        stage.servers.hook = die
        with contextlib.suppress(CrashError):
            stage.drive().reconcile()
        stage.servers.hook = lambda _: None
        stage.drive().reconcile()
        stage.clock.forward(1)
    assert stage.log.state().stable == "g2"


def test_the_loop_runs_until_it_is_stopped_and_outlives_an_outage(stage: Stage) -> None:
    start(stage)
    stop, looks = threading.Event(), []

    def watch(look: Look) -> None:
        looks.append(look)
        stage.clock.forward(5)
        stage.servers.down = len(looks) in range(5, 10)
        if look.rollout and look.rollout.phase is Phase.FINISHED:
            stop.set()

    stage.driver.run(stop, every_seconds=0.001, watch=watch)
    assert stage.log.state().stable == "g2" and any(look.trouble for look in looks)


def test_a_rollout_written_by_another_release_of_pagoda_stays_readable(stage: Stage) -> None:
    policy = {**quick().model_dump(mode="json"), "a_setting_of_the_past": 1}
    body = {"rollout": "r4", "candidate": "g2", "previous": "g1", "policy": policy, "by": "an older driver"}
    stage.log.append("rollout.started", body)
    assert rollout(stage).candidate == "g2"


def test_an_impossible_log_is_refused(stage: Stage) -> None:
    stage.log.append("rollout.promoted", {"rollout": "r1", "candidate": "g2"})
    with pytest.raises(IntegrityError, match="impossible"):
        rollout_of(stage.log.state())


def test_the_first_generation_says_what_it_is_warned_of_when_it_is_promoted() -> None:
    stage = Stage(stable=False)
    add_full(stage.log, 3, tags={"warning": "Worse than popularity"})
    commands.start(stage.log, "g3", policy=quick(), by="test")
    until(stage, Phase.PROMOTED)
    assert rollout(stage).reason == "the first generation. Worse than popularity"
