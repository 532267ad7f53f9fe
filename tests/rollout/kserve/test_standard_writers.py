"""Rollouts in Standard mode while others write to the same objects, and an API server that is busy or gone."""

from __future__ import annotations

import json

import pytest

from pagoda.errors import ConflictError
from pagoda.rollout import commands
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of
from tests.rollout.kserve.fakes.apiserver import FakeCluster
from tests.rollout.kserve.fakes.webhook import SCHEMAS

from .stage import LABELS, OnFake, chart

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.FINISHED])
def test_a_tower_that_somebody_puts_in_by_hand_is_taken_out_again(stage: OnFake, phase: Phase) -> None:
    stage.start()
    stage.until(phase)
    stage.cluster.edit("kubectl-edit", {"spec": {"predictor": {"model": {"storageUri": "s3://towers/mine"}}}})
    assert stage.step().trouble == ()
    stable = stage.log.state().generation(stage.log.state().stable or "")
    assert stage.spec["predictor"]["model"]["storageUri"] == stable.tower.uri


def test_a_canary_that_somebody_has_a_hand_in_goes_away_all_the_same(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    commands.abort(stage.log, by="ann")
    entry = stage.spec["canary"][0]
    stage.cluster.edit("kubectl-edit", {"spec": {"canary": [{**entry, "trafficPercent": 0}]}})
    stage.until(Phase.FINISHED)
    for _ in range(3):
        stage.step()
    assert "canary" not in stage.spec and stage.pods == {"tower-v1-predictor": 2}


def test_fields_of_others_stay_as_they_are(stage: OnFake) -> None:
    original = chart("Standard")
    stage.start()
    stage.until(Phase.FINISHED)
    stage.step()
    found = stage.cluster.service()
    assert found["metadata"]["labels"] == LABELS
    defaulted = {"modelFormat": "pagoda-tower"}
    assert found["metadata"]["annotations"] == original["metadata"]["annotations"] | defaulted
    ours = ("name", "minReplicas", "canaryTrafficPercent")
    theirs = {key: value for key, value in found["spec"]["predictor"].items() if key not in ours}
    not_theirs = ("storageUri", "name", "resources")
    theirs["model"] = {key: value for key, value in theirs["model"].items() if key not in not_theirs}
    expected = {key: value for key, value in original["spec"]["predictor"].items() if key not in ours}
    assert theirs == expected
    named = {key for body in stage.cluster.applied for key in body["spec"]["predictor"]}
    assert named == {"name", "minReplicas", "model"}
    assert all(set(body["spec"]["predictor"]["model"]) == {"storageUri"} for body in stage.cluster.applied)


def test_a_helm_upgrade_at_any_step_conflicts_over_nothing(stage: OnFake, cluster: FakeCluster) -> None:
    stage.start()
    changes = 0
    while "g1" not in stage.log.state().retired:
        changes += 1
        before = (stage.percents(), stage.spec["predictor"]["model"]["storageUri"])
        cluster.upgrade(chart("Standard", serviceAccountName=f"account-{changes}", nodeSelector={"pool": str(changes)}))
        assert (stage.percents(), stage.spec["predictor"]["model"]["storageUri"]) == before
        stage.step()
    stage.step()
    assert stage.spec["predictor"]["serviceAccountName"] == f"account-{changes}" and changes > 10


def test_nothing_is_written_when_nothing_is_to_change(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.step()
    stage.cluster.requests.clear()
    for _ in range(5):
        stage.driver.reconcile()
    assert {method for method, _ in stage.cluster.requests} == {"GET"}


def test_fields_that_defaulting_added_are_no_difference(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.step()
    stage.spec["canary"][0]["predictor"]["model"]["resources"] = {"requests": {"cpu": "1"}}
    stage.cluster.requests.clear()
    stage.driver.reconcile()
    assert {method for method, _ in stage.cluster.requests} == {"GET"}


def test_an_object_that_changed_meanwhile_is_read_again(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.VERIFIED)
    races = []

    def interfere(method: str, path: str) -> None:
        if method == "PATCH" and path.endswith("/tower") and len(races) < 2:
            races.append(path)
            stage.cluster.edit("controller", {"metadata": {"labels": {"touched": str(len(races))}}})

    stage.cluster.before = interfere
    stage.step()
    assert len(races) == 2 and stage.percents() == {"v2": 10}
    assert stage.cluster.service()["metadata"]["labels"]["touched"] == "2"


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(stage: OnFake, code: int) -> None:
    stage.start()
    stage.until(Phase.VERIFIED)
    stage.cluster.failures = [code, code]
    assert stage.step().trouble == ()


def test_a_server_that_stays_away_stops_nothing_but_the_step(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.cluster.failures = [503] * 80
    stage.metrics.error_rate = 0.5
    look = stage.driver.reconcile()
    assert look.trouble and stage.log.state().arms.canary is None
    stage.cluster.failures = []
    stage.step()
    assert stage.percents() == {"v2": 0}


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason=f"no schemas in {SCHEMAS}; set SCHEMAS")
def test_what_the_webhook_denies_is_reported(stage: OnFake) -> None:
    nonsense = {"spec": {"predictor": {"model": {"modelFormat": {"nonsense": True}}}}}
    stage.cluster.objects[("inferenceservices", "tower")].merge(nonsense, "somebody")
    stage.start()
    stage.until(Phase.VERIFIED)
    look = stage.step()
    assert any("nonsense" in problem for problem in look.trouble)


def test_an_older_record_is_refused(stage: OnFake) -> None:
    late = target_of(stage.log.state())
    stage.start()
    stage.until(Phase.CANARY)
    with pytest.raises(ConflictError, match="was applied already"):
        stage.connect().apply(late)
    assert stage.percents() == {"v2": 10}


def test_another_driver_goes_on_where_one_died(stage: OnFake) -> None:
    stage.start()
    while (found := rollout_of(stage.log.state())) and found.phase is not Phase.FINISHED:
        stage.backend = stage.connect()
        stage.driver = stage.drive()
        stage.step()
    stage.step()
    assert stage.pods == {"tower-v2-predictor": 2} and stage.restarts() == 0


def test_every_object_that_was_sent_is_plain_json(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.FINISHED)
    assert json.loads(json.dumps(stage.cluster.applied)) == stage.cluster.applied
