"""From a registered candidate to all traffic, or back."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import numpy as np
import pytest

from pagoda.errors import ConflictError, DataError, GateError, IntegrityError, RequestError
from pagoda.generations.manifest import Manifest
from pagoda.rollout import commands
from pagoda.rollout.driver import Driver, Look
from pagoda.rollout.measures.offline_evidence import OfflineEvidence, RecallRows
from pagoda.rollout.policy import FULL, INCREMENTAL, ShadowStep
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.rollout.target import target_of

from .worlds import Stage, add_full, add_incremental, evidence, quick


@pytest.fixture
def stage() -> Stage:
    return Stage()


def rollout(stage: Stage) -> Rollout:
    found = rollout_of(stage.log.state())
    assert found is not None
    return found


def start(stage: Stage, **changes: object) -> Rollout:
    return commands.start(stage.log, "g2", policy=quick(**changes), by="test")


def kinds(stage: Stage) -> list[str]:
    return [record.kind for record in stage.log.state().others]


def until(stage: Stage, phase: Phase, turns: int = 100) -> None:
    for _ in range(turns):
        if rollout(stage).phase is phase:
            return
        stage.turn()
    raise AssertionError(f"never {phase}: {stage.driver.reconcile()}")


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


def test_damaged_candidates_never_see_a_user(stage: Stage) -> None:
    stage.evidence = evidence(candidate_recall=0.2)
    start(stage)
    stage.turn(2)
    assert rollout(stage).phase is Phase.ROLLED_BACK and "recall" in rollout(stage).reason
    assert all(release.arms.canary is None for release in stage.log.state().releases)
    until(stage, Phase.FINISHED)
    assert stage.log.state().retired == {"g2"} and stage.log.state().stable == "g1"


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        ({"error_rate": 0.5}, "errors"),
        ({"slow_rate": 0.5}, "latency"),
        ({"click_rate": 0.05}, "clicks"),
        ({"short_rate": 0.5}, "short_answers"),
        ({"fallback_rate": 0.5}, "fallbacks"),
    ],
)
def test_a_fault_in_users_hands_rolls_back_at_the_next_look(stage: Stage, fault: dict[str, float], gate: str) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    for name, value in fault.items():
        setattr(stage.metrics, name, value)
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK and rollout(stage).reason.startswith(gate)
    split = split_of(stage.log.state())
    assert split is not None and split.canary is None
    assert "g2" in stage.servers.loaded, "requests under way still need it"
    until(stage, Phase.FINISHED)
    stage.turn()
    assert set(stage.servers.loaded) == {"g1"}


def test_a_fault_is_rolled_back_although_servers_do_not_answer(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    stage.metrics.error_rate, stage.servers.down = 0.5, True
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK


def test_too_little_traffic_is_no_pass(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    stage.metrics.requests = 900
    stage.turn(95)
    assert rollout(stage).phase is Phase.CANARY and rollout(stage).step == 0
    stage.turn(10)
    assert rollout(stage).phase is Phase.ROLLED_BACK and "900" in rollout(stage).reason


def test_metrics_that_do_not_answer_are_no_pass(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    stage.metrics.down = True
    stage.turn(30)
    assert rollout(stage).step == 0
    assert stage.driver.reconcile().trouble == ("no metrics now",)


def test_the_latency_limit_is_fixed_when_a_step_begins(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    assert rollout(stage).limit_ms == FULL.online.latency.floor_ms
    stage.turn()
    assert stage.metrics.asked[-1] == (rollout(stage).id, rollout(stage).since, rollout(stage).limit_ms)


def test_shadow_copies_requests_and_answers_nobody(stage: Stage) -> None:
    start(stage, shadow=ShadowStep(minimum_seconds=5, maximum_seconds=50, minimum_requests=10, percent=30))
    until(stage, Phase.SHADOW)
    split = split_of(stage.log.state())
    assert split is not None and split.shadow and split.percent == 30
    assert {split.choose(user).arm for user in range(200)} == {"stable"}
    assert {split.shadow_of(user) for user in range(200)} == {"g2", None}
    stage.metrics.error_rate = 0.5
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK
    assert all(release.arms.canary is None for release in stage.log.state().releases)


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


def test_pause_keeps_the_step_but_not_a_faulty_candidate(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    commands.pause(stage.log, by="ann")
    stage.turn(150)
    assert rollout(stage).phase is Phase.CANARY and rollout(stage).step == 0
    with pytest.raises(ConflictError, match="already paused"):
        commands.pause(stage.log, by="ann")
    commands.resume(stage.log, by="ann")
    stage.turn(3)
    assert rollout(stage).step == 1, "the maximum wait did not run on during the pause"
    commands.pause(stage.log, by="ann")
    stage.metrics.error_rate = 0.5
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("phase", [Phase.REGISTERED, Phase.VERIFIED, Phase.CANARY, Phase.PROMOTED])
def test_abort_works_from_anywhere(stage: Stage, phase: Phase) -> None:
    start(stage)
    until(stage, phase)
    commands.abort(stage.log, by="ann", reason="a bad feeling")
    assert stage.log.state().arms.stable == "g1" and stage.log.state().arms.canary is None
    until(stage, Phase.FINISHED)
    stage.turn()
    assert set(stage.servers.loaded) == {"g1"} and rollout(stage).reason == "a bad feeling"


def test_force_skips_quality_but_not_the_parts(stage: Stage) -> None:
    stage.metrics.requests = 1
    start(stage)
    until(stage, Phase.VERIFIED)
    stage.servers.patience = 20
    commands.force(stage.log, by="ann")
    stage.turn(10)
    assert rollout(stage).phase is Phase.VERIFIED
    until(stage, Phase.PROMOTED)
    assert stage.servers.whole("g2")


def test_force_overrules_a_lower_recall_only_while_every_part_is_whole(stage: Stage) -> None:
    stage.evidence = evidence(candidate_recall=0.2)
    start(stage)
    commands.force(stage.log, by="ann")
    stage.turn()
    assert rollout(stage).phase is Phase.VERIFIED
    other = Stage()
    other.servers.missing = ["no gateway is there"]
    start(other)
    commands.force(other.log, by="ann")
    other.turn(5)
    assert rollout(other).phase is Phase.REGISTERED


def test_damage_found_by_the_evaluation_is_a_verdict(stage: Stage) -> None:
    def damaged(candidate: object, champion: object) -> None:
        raise IntegrityError("tower: checksum differs")

    stage.driver._offline = damaged
    start(stage)
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK and "checksum differs" in rollout(stage).reason


def test_one_rollout_at_a_time(stage: Stage) -> None:
    start(stage)
    add_full(stage.log, 3)
    with pytest.raises(ConflictError, match="must finish first"):
        commands.start(stage.log, "g3", by="test")


def test_only_what_can_serve_is_rolled_out(stage: Stage) -> None:
    with pytest.raises(RequestError, match="g9"):
        commands.start(stage.log, "g9", by="test")
    with pytest.raises(GateError, match="stable already"):
        commands.start(stage.log, "g1", by="test")
    stage.log.append("retired", {"generation": "g2"})
    with pytest.raises(GateError, match="retired"):
        commands.start(stage.log, "g2", by="test")


def test_a_rollback_by_hand_ends_the_rollout(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.CANARY)
    stage.log.append("released", {"arms": {"stable": "g1"}, "reason": "rollback"})
    assert split_of(stage.log.state()).canary is None
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK and "rollback" in rollout(stage).reason


def test_going_back_by_hand_after_promotion_keeps_what_serves(stage: Stage) -> None:
    start(stage)
    until(stage, Phase.PROMOTED)
    stage.log.append("released", {"arms": {"stable": "g1"}, "reason": "rollback"})
    until(stage, Phase.FINISHED)
    assert stage.log.state().stable == "g1" and stage.log.state().retired == {"g2"}


def test_an_incremental_takes_the_short_way(stage: Stage) -> None:
    id_ = add_incremental(stage.log, 3, 1, "g1")
    assert commands.deliver(stage.log, id_, by="test").endswith("began")
    assert rollout(stage).policy == INCREMENTAL
    until(stage, Phase.FINISHED, turns=300)
    assert stage.log.state().stable == id_
    assert not stage.log.state().retired, "the one before is a segment less, and what `pagoda rollback` returns to"
    older = add_incremental(stage.log, 2_000, 1, "g1")
    late = stage.log.state().generation(id_)
    assert late.order < stage.log.state().generation(older).order


def test_incrementals_during_a_full_rollout_go_to_the_arm_of_their_base(stage: Stage) -> None:
    start(stage)
    stage.turn(2)
    assert "candidate" in commands.deliver(stage.log, add_incremental(stage.log, 3, 2, "g2"), by="test")
    until(stage, Phase.CANARY)
    assert stage.log.state().arms.canary == "g2.3"
    commands.deliver(stage.log, add_incremental(stage.log, 4, 1, "g1"), by="test")
    commands.deliver(stage.log, add_incremental(stage.log, 5, 2, "g2.3"), by="test")
    arms = stage.log.state().arms
    assert (arms.stable, arms.canary) == ("g1.4", "g2.5")
    assert {manifest.id for manifest in target_of(stage.log.state()).generations} == {"g1.4", "g2.5"}
    until(stage, Phase.PROMOTED)
    assert stage.log.state().stable == "g2.5" and rollout(stage).previous == "g1.4"
    commands.deliver(stage.log, add_incremental(stage.log, 6, 2, "g2.5"), by="test")
    commands.abort(stage.log, by="test")
    assert stage.log.state().arms.stable == "g1.4"


def test_a_dataset_that_is_not_there_is_no_pass_and_no_end_of_the_driver(stage: Stage) -> None:
    def gone(*_: object) -> OfflineEvidence:
        raise DataError("shop: there is no dataset")

    stage.driver = Driver(stage.log, stage.servers, stage.metrics, gone)
    start(stage)
    look = stage.driver.reconcile()
    assert rollout(stage).phase is Phase.REGISTERED and look.trouble == ("shop: there is no dataset",)
    stage.clock.forward(FULL.prepare_seconds + 1)
    stage.turn(2)
    assert rollout(stage).phase is Phase.ROLLED_BACK


def test_a_shadow_is_refreshed_once_its_servers_hold_the_newer_one(stage: Stage) -> None:
    """Copies go to it from the record on: what its tower refuses counts as the candidate's failures."""

    def refuse(manifest: Manifest) -> None:
        raise GateError(f"{manifest.id} is not held")

    start(stage, shadow=ShadowStep(minimum_seconds=5, maximum_seconds=50, minimum_requests=10, percent=30))
    first = add_incremental(stage.log, 3, 2, "g2")
    commands.deliver(stage.log, first, by="test", checks=[refuse])  # No server of its own runs yet.
    until(stage, Phase.SHADOW)
    second = add_incremental(stage.log, 4, 2, first)
    with pytest.raises(GateError, match="not held"):
        commands.deliver(stage.log, second, by="test", checks=[refuse])
    assert rollout(stage).candidate == first
    commands.deliver(stage.log, second, by="test", checks=[lambda _: None])
    assert rollout(stage).candidate == second


def test_a_newer_incremental_waits_for_the_one_before(stage: Stage) -> None:
    commands.deliver(stage.log, add_incremental(stage.log, 3, 1, "g1"), by="test")
    with pytest.raises(ConflictError, match="must wait"):
        commands.deliver(stage.log, add_incremental(stage.log, 4, 1, "g1.3"), by="test")


def test_an_incremental_published_over_a_candidate_supersedes_it(stage: Stage) -> None:
    first = add_incremental(stage.log, 3, 1, "g1")
    second = add_incremental(stage.log, 4, 1, first)
    commands.start(stage.log, first, policy=quick(), by="test")
    until(stage, Phase.CANARY)
    stage.log.append("released", {"arms": {"stable": second, "canary": first}, "reason": "publish"})
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK and stage.log.state().stable == second


def test_retiring_a_full_version_retires_every_generation_that_a_rollback_could_return_to(stage: Stage) -> None:
    second = add_incremental(stage.log, 3, 1, "g1")
    stage.log.append("released", {"arms": {"stable": second}, "reason": "publish"})
    start(stage)
    until(stage, Phase.FINISHED, turns=200)
    assert stage.log.state().retired == {"g1", second}


def test_a_candidate_goes_with_all_that_it_learned_on_the_way(stage: Stage) -> None:
    start(stage)
    stage.turn(2)
    commands.deliver(stage.log, add_incremental(stage.log, 3, 2, "g2"), by="test")
    until(stage, Phase.CANARY)
    commands.deliver(stage.log, add_incremental(stage.log, 4, 2, "g2.3"), by="test")
    commands.abort(stage.log, by="test")
    until(stage, Phase.FINISHED, turns=200)
    assert stage.log.state().retired == {"g2", "g2.3", "g2.4"}


def test_hosts_are_asked_again_before_they_let_a_waiting_candidate_go(stage: Stage) -> None:
    start(stage, grace_seconds=10_000)
    stage.turn(2)
    commands.pause(stage.log, by="ann")
    stage.turn(5, seconds=1_000)
    assert [record.kind for record in stage.log.records()].count("offered") >= 1
    assert stage.log.state().offers["g2"] > rollout(stage).since
    commands.resume(stage.log, by="ann")
    until(stage, Phase.PROMOTED)
    stage.turn(5, seconds=1_000)
    assert stage.log.state().offers["g1"] > rollout(stage).since


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


def test_gates_that_hold_are_recorded_once_and_again_when_something_changed(stage: Stage) -> None:
    few = RecallRows(np.arange(3), np.ones(3), np.ones(3))
    stage.evidence = replace(stage.evidence, recall=few)
    start(stage, prepare_seconds=3_000)
    stage.turn(100)
    assert kinds(stage) == ["rollout.started", "gates.held"]
    (wait,) = stage.drive().preview().decision.waits
    assert wait.startswith("3 rows were evaluated")
    more = RecallRows(np.arange(4), np.ones(4), np.ones(4))
    stage.evidence = replace(stage.evidence, recall=more)
    stage.turn(100)
    assert kinds(stage)[2:] == [], "other figures alone are worth a record every five minutes"
    stage.turn(150)
    assert kinds(stage)[2:] == ["gates.held"]
    stage.evidence = evidence()
    until(stage, Phase.FINISHED, turns=300)
    start_again = [kind for kind in kinds(stage) if kind == "gates.held"]
    assert len(start_again) == 2 and rollout(stage).reason == "all gates passed"


def test_the_first_generation_says_what_it_is_warned_of_when_it_is_promoted() -> None:
    stage = Stage(stable=False)
    add_full(stage.log, 3, tags={"warning": "Worse than popularity"})
    commands.start(stage.log, "g3", policy=quick(), by="test")
    until(stage, Phase.PROMOTED)
    assert rollout(stage).reason == "the first generation. Worse than popularity"
