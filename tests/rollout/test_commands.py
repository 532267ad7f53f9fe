"""What people tell a rollout: to start, to pause, to go on, to end; and what they release by hand."""

from __future__ import annotations

import pytest

from pagoda.errors import ConfigError, ConflictError, GateError, RequestError
from pagoda.rollout import commands
from pagoda.rollout.online_gates import OnlineGates, OutcomeGate
from pagoda.rollout.policy import RolloutPolicy
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase

from .course import rollout, start, until
from .worlds import Stage, add_full, evidence, quick


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


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (OutcomeGate(event="purhcase"), r"event 'purhcase' is not declared .* generation g1 .*purchase.*`events`"),
        (OutcomeGate(column="dwell_seconds", cap=60), r"column 'dwell_seconds' is not declared .*`positive_weight`"),
    ],
)
def test_an_outcome_that_no_event_can_have_is_refused(stage: Stage, outcome: OutcomeGate, message: str) -> None:
    policy = RolloutPolicy(online=OnlineGates(outcomes=(OutcomeGate(event="purchase"), outcome)))
    with pytest.raises(ConfigError, match=message):
        commands.start(stage.log, "g2", policy=policy, by="test")
    assert rollout_of(stage.log.state()) is None


def test_a_rollout_with_outcomes_tells_them_in_its_split_while_users_are_in_the_canary(stage: Stage) -> None:
    outcomes = (OutcomeGate(event="purchase"),)
    commands.start(stage.log, "g2", policy=quick(online=OnlineGates(outcomes=outcomes)), by="test")
    told = []
    for _ in range(30):
        stage.turn()
        split = split_of(stage.log.state())
        assert split is not None
        told.append((split.canary is not None, split.outcomes))
    assert set(told) == {(False, ()), (True, outcomes)}


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
