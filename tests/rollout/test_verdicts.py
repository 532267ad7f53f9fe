"""What gates say of a candidate, and what becomes of it then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pagoda.errors import DataError, IntegrityError
from pagoda.rollout.driver import Driver
from pagoda.rollout.measures.offline_evidence import OfflineEvidence, RecallRows
from pagoda.rollout.policy import FULL, ShadowStep
from pagoda.rollout.state.log_reading import split_of
from pagoda.rollout.state.machine import Phase

from .course import kinds, rollout, start, until
from .worlds import Stage, evidence


def test_damaged_candidates_never_see_a_user(stage: Stage) -> None:
    stage.evidence = evidence(candidate_recall=0.2)
    start(stage)
    stage.turn(2)
    assert rollout(stage).phase is Phase.ROLLED_BACK and "recall" in rollout(stage).reason
    assert all(release.arms.canary is None for release in stage.log.state().releases)
    until(stage, Phase.FINISHED)
    assert stage.log.state().retired == {"g2"} and stage.log.state().stable == "g1"


def test_damage_found_by_the_evaluation_is_a_verdict(stage: Stage) -> None:
    def damaged(candidate: object, champion: object) -> None:
        raise IntegrityError("tower: checksum differs")

    stage.driver._offline = damaged
    start(stage)
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK and "checksum differs" in rollout(stage).reason


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


def test_a_caution_stands_in_the_record_of_each_candidate_and_holds_none(stage: Stage) -> None:
    stage.driver = Driver(stage.log, stage.servers, stage.metrics, lambda *_: stage.evidence, "never run")
    start(stage)
    until(stage, Phase.CANARY)
    said = [result for record in stage.log.records() for result in record.body.get("gates", ())]
    assert {"gate": "preflight", "verdict": "pass", "detail": "never run"}.items() <= said[0].items()


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


def test_gates_that_hold_are_recorded_once_and_again_when_something_changed(stage: Stage) -> None:
    few = RecallRows(np.arange(3), np.ones(3), np.ones(3))
    stage.evidence = replace(stage.evidence, recall=few)
    start(stage, prepare_seconds=3_000)
    stage.turn(100)
    assert kinds(stage) == ["rollout.started", "gates.held"]
    (wait,) = stage.drive().preview().decision.waits
    assert wait.startswith("recall: 3 rows were evaluated")
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
