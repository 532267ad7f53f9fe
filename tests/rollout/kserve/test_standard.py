"""Rollouts on KServe in Standard mode, against a fake of the Kubernetes HTTP API that validates what it is sent."""

from __future__ import annotations

import json
from math import ceil

import pytest
from kubernetes import client, config

from pagoda.errors import ConfigError, ConflictError
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.backend import KServeBackend
from pagoda.rollout.backends.kserve.cluster import MANAGER, Cluster
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of
from tests.rollout.kserve.fakes.apiserver import FakeCluster
from tests.rollout.kserve.fakes.standard import SOURCE
from tests.rollout.kserve.fakes.webhook import SCHEMAS
from tests.rollout.worlds import add_full, add_incremental, quick

from .stage import BOUNDS, LABELS, OnFake, chart

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    return OnFake(cluster, api)


def test_the_first_generation_needs_no_canary(stage: OnFake) -> None:
    predictor = stage.spec["predictor"]
    assert predictor["name"] == "v1" and predictor["model"]["storageUri"] == "s3://towers/1"
    assert "canary" not in stage.spec and stage.pods == {"tower-v1-predictor": 2}


def test_traffic_fields_show_what_the_arms_get_at_every_moment(stage: OnFake) -> None:
    stage.start()
    seen = []
    while "g1" not in stage.log.state().retired:
        found = rollout_of(stage.log.state())
        assert found is not None
        shown = stage.percents()
        if found.phase is Phase.CANARY:
            assert shown == {"v2": found.percent}
            assert stage.pods["tower-v2-predictor"] >= ceil(found.percent / 100 * 2)
        if found.phase is Phase.PROMOTED:
            assert stage.log.state().stable == "g2" and shown == {"v2": 100}
        assert stage.pods["tower-v1-predictor"] >= 2, "a rollback must need nothing new"
        seen.append((found.phase, shown.get("v2")))
        stage.step()
    assert {(Phase.CANARY, 10), (Phase.CANARY, 50), (Phase.PROMOTED, 100)} <= set(seen)


def test_promotion_restarts_nothing_and_leaves_no_trace(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.FINISHED)
    stage.step()
    stage.step()
    assert stage.spec["predictor"]["name"] == "v2" and stage.spec["predictor"]["model"]["storageUri"] == "s3://towers/2"
    assert "canary" not in stage.spec and stage.spec["predictor"]["minReplicas"] == 2
    assert stage.pods == {"tower-v2-predictor": 2} and stage.restarts() == 0
    assert stage.cluster.removed.count(("deployments", "tower-v1-predictor")) == 1
    assert stage.cluster.standard.weights == {"tower-v2-predictor": 100}


def test_the_old_pods_stay_until_the_grace_is_over(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.PROMOTED)
    for _ in range(50):
        stage.step()
        assert stage.pods["tower-v1-predictor"] == 2 and stage.cluster.standard.weights["tower-v1-predictor"] == 0
    commands.abort(stage.log, by="ann")
    stage.step()
    assert stage.percents() == {"v2": 0} and stage.cluster.standard.weights["tower-v1-predictor"] == 100


def test_a_rollback_takes_traffic_at_once_and_pods_after_the_drain(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.metrics.error_rate = 0.5
    stage.step()
    assert stage.percents() == {"v2": 0} and stage.cluster.standard.weights["tower-v1-predictor"] == 100
    assert stage.pods["tower-v2-predictor"] > 0
    stage.until(Phase.FINISHED)
    stage.step()
    assert stage.percents() == {} and stage.pods == {"tower-v1-predictor": 2} and stage.restarts() == 0
    assert stage.spec["predictor"]["minReplicas"] == 2


def test_after_a_rollback_the_next_candidate_goes_its_way(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    commands.abort(stage.log, by="ann")
    stage.until(Phase.FINISHED)
    add_full(stage.log, 3)
    commands.start(stage.log, "g3", policy=quick(), by="test")
    stage.until(Phase.FINISHED)
    stage.step()
    assert stage.pods == {"tower-v3-predictor": 2} and stage.restarts() == 0


@pytest.fixture
def scaled(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    """With an autoscaler, whose metric asks for seven pods."""
    stage = OnFake(cluster, api, chart("Standard", scaled=True, scaleTarget=70), Bounds(2, 10))
    cluster.workloads.load = 7
    cluster.tick()
    cluster.tick()
    return stage


def test_shares_are_of_the_replicas_that_an_autoscaler_runs_now(scaled: OnFake) -> None:
    scaled.start()
    scaled.until(Phase.CANARY)
    assert scaled.pods["tower-v2-predictor"] >= 1
    while rollout_of(scaled.log.state()).step == 0:
        scaled.step()
    assert scaled.pods["tower-v2-predictor"] >= 4, "half of seven"
    assert scaled.pods["tower-v1-predictor"] >= 7
    scaled.until(Phase.PROMOTED)
    assert scaled.pods["tower-v2-predictor"] >= 7


@pytest.mark.parametrize("load", [7, None])
def test_a_surge_that_nobody_has_taken_away_yet_is_not_reserved_again(scaled: OnFake, load: int | None) -> None:
    """Without metrics an autoscaler never takes pods away that are within its bounds."""
    most: dict[str, int] = {}
    for id_, end in (("g2", Phase.PROMOTED), ("g3", Phase.CANARY), ("g4", Phase.PROMOTED)):
        if id_ != "g2":
            add_full(scaled.log, int(id_[1:]))
        commands.start(scaled.log, id_, policy=quick(), by="test")
        scaled.cluster.workloads.load = load
        while (found := rollout_of(scaled.log.state())) and found.phase is not end:
            scaled.step()
            for entry in scaled.spec.get("canary", []):
                name = entry["predictor"]["name"]
                most[name] = max(most.get(name, 0), entry["predictor"]["minReplicas"])
        commands.abort(scaled.log, by="ann")
        scaled.until(Phase.FINISHED)
        scaled.step()
    assert most["v2"] == most["v4"] == 7


def test_a_load_that_rises_within_a_step_raises_what_the_next_one_needs(scaled: OnFake) -> None:
    scaled.cluster.workloads.load = 2
    scaled.start()
    scaled.until(Phase.CANARY)
    scaled.cluster.workloads.load = 9
    while rollout_of(scaled.log.state()).step == 0:
        scaled.step()
    assert scaled.pods["tower-v2-predictor"] >= 4, "half of nine, within an autoscaler's tolerance"
    scaled.until(Phase.PROMOTED)
    assert scaled.pods["tower-v2-predictor"] >= 8


def test_a_promoted_tower_follows_the_load_before_its_grace_is_over(scaled: OnFake) -> None:
    scaled.cluster.workloads.load = 2
    scaled.start()
    scaled.until(Phase.PROMOTED)
    scaled.cluster.workloads.load = 9
    for _ in range(6):
        scaled.step()
    assert rollout_of(scaled.log.state()).phase is Phase.PROMOTED and scaled.pods["tower-v2-predictor"] >= 8


def test_a_load_beyond_the_maximum_is_not_followed_by_surges(scaled: OnFake) -> None:
    scaled.cluster.workloads.load = 50
    scaled.start()
    most = 0
    while "g1" not in scaled.log.state().retired:
        scaled.step()
        most = max([most, *(entry["predictor"]["minReplicas"] for entry in scaled.spec.get("canary", []))])
    assert most == 10


def test_a_take_over_that_comes_late_leaves_the_next_candidate_alone(stage: OnFake, cluster: FakeCluster) -> None:
    stage.start()
    stage.until(Phase.PROMOTED)
    held = cluster.workloads.start
    cluster.workloads.start = lambda: None  # A node is lost, and with it a pod of the promoted tower.
    cluster.write_status("deployments", "tower-v2-predictor", {"readyReplicas": 1, "updatedReplicas": 1})
    cluster.workloads.observe = lambda: None
    while rollout_of(stage.log.state()).phase is not Phase.FINISHED:
        stage.driver.reconcile()
        stage.clock.forward(5)
    del cluster.workloads.observe
    cluster.workloads.start = held
    add_full(stage.log, 3)
    commands.start(stage.log, "g3", policy=quick(), by="test")
    stage.look_until(Phase.VERIFIED)
    for _ in range(4):
        stage.step()
    assert ("deployments", "tower-v3-predictor") not in cluster.removed
    stage.until(Phase.FINISHED)
    assert stage.log.state().stable == "g3" and stage.restarts() == 0


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


def test_bounds_are_the_installation_s_again_after_a_rollout(scaled: OnFake) -> None:
    scaled.start()
    scaled.until(Phase.CANARY)
    assert scaled.spec["predictor"]["maxReplicas"] >= scaled.spec["predictor"]["minReplicas"] > 2
    scaled.until(Phase.FINISHED)
    scaled.step()
    assert (scaled.spec["predictor"]["minReplicas"], scaled.spec["predictor"]["maxReplicas"]) == (2, 10)


def test_autoscalers_of_retired_predictors_are_cleared_away(scaled: OnFake) -> None:
    scaled.start()
    scaled.until(Phase.CANARY)
    assert scaled.autoscalers == {"tower-v1-predictor", "tower-v2-predictor"}
    scaled.until(Phase.FINISHED)
    scaled.step()
    scaled.step()
    assert scaled.autoscalers == {"tower-v2-predictor"}


def test_what_kserve_reports_as_observed_is_believed_in_neither_meaning(
    cluster: FakeCluster, api: client.ApiClient
) -> None:
    cluster.standard.own_generation = True
    stage = OnFake(cluster, api)
    stage.start()
    stage.until(Phase.FINISHED)
    assert stage.log.state().stable == "g2"


@pytest.mark.parametrize("release", ["main", "v0.20.0"])
def test_the_stable_arm_keeps_its_pods_whenever_kserve_takes_the_canary_s_from_it(
    stage: OnFake, cluster: FakeCluster, release: str
) -> None:
    cluster.standard.release = release
    stage.start()
    while "g1" not in stage.log.state().retired:
        stage.step()
        assert stage.ready(stage.log.state().stable or "") >= 2


def test_a_deployment_that_brings_another_tower_is_not_the_candidate_s(stage: OnFake, cluster: FakeCluster) -> None:
    stage.start()
    stage.until(Phase.VERIFIED)
    stage.step()
    found = cluster.objects[("deployments", "tower-v2-predictor")].found
    found["metadata"]["annotations"][SOURCE] = "s3://towers/of-an-earlier-try"
    ready = stage.backend.status(target_of(stage.log.state())).of("g2")
    assert ready.missing == ("the Deployment of v2 still brings s3://towers/of-an-earlier-try",)


def test_pods_of_an_old_template_are_no_candidate(stage: OnFake, cluster: FakeCluster) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    cluster.upgrade(chart("Standard", serviceAccountName="other"))
    stage.driver.reconcile()
    cluster.reconcile()
    cluster.workloads.observe()
    ready = stage.backend.status(target_of(stage.log.state())).of("g2")
    assert ready.missing == ("pods of v2 are being replaced",)


def test_pods_that_the_namespace_refuses_are_told_of(stage: OnFake, cluster: FakeCluster) -> None:
    stage.start()
    stage.look_until(Phase.VERIFIED)
    cluster.reconcile()
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    message = 'pods "tower-v2-predictor-1" is forbidden: violates PodSecurity "restricted:latest": seccompProfile'
    cluster.write_status("deployments", "tower-v2-predictor", {"conditions": [{**refused, "message": message}]})
    look = stage.driver.reconcile()
    assert any("violates PodSecurity" in wait for wait in look.decision.waits)
    assert any("violates PodSecurity" in problem for problem in stage.backend.preflight(target_of(stage.log.state())))


def test_a_kserve_that_writes_no_status_stops_nobody(stage: OnFake, cluster: FakeCluster) -> None:
    cluster.standard.loops = True
    stage.start()
    stage.until(Phase.FINISHED)
    assert stage.log.state().stable == "g2"


def test_kserve_may_be_upgraded_in_the_middle(stage: OnFake, cluster: FakeCluster) -> None:
    cluster.standard.release = "v0.20.0"
    stage.start()
    stage.until(Phase.CANARY)
    cluster.standard.release = "main"
    while "g1" not in stage.log.state().retired:
        stage.step()
        assert stage.ready(stage.log.state().stable or "") >= 2
    assert stage.restarts() == 0


def test_a_canary_without_its_pods_gets_no_share(stage: OnFake) -> None:
    stage.start(prepare_seconds=20)
    for _ in range(15):
        stage.driver.reconcile()
        stage.clock.forward(1)
    found = rollout_of(stage.log.state())
    assert found is not None and found.phase is Phase.VERIFIED and stage.percents() == {"v2": 0}
    for _ in range(10):
        stage.driver.reconcile()
        stage.clock.forward(1)
    assert rollout_of(stage.log.state()).phase is Phase.ROLLED_BACK


def test_incrementals_live_in_the_same_pods(stage: OnFake) -> None:
    id_ = add_incremental(stage.log, 3, 1, "g1")
    before = len(stage.cluster.applied)
    commands.start(stage.log, id_, policy=quick(), by="test")
    stage.until(Phase.FINISHED)
    assert stage.log.state().stable == id_
    assert len(stage.cluster.applied) == before and stage.pods == {"tower-v1-predictor": 2}


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


def test_other_bounds_reach_kserve_at_any_step(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.bounds = Bounds(4)  # As a helm upgrade tells the driver, which starts again.
    stage.backend = stage.connect()
    stage.driver = stage.drive()
    stage.step()
    stage.step()
    assert stage.ready("g1") == 4
    stage.until(Phase.FINISHED)
    stage.step()
    assert stage.spec["predictor"]["minReplicas"] == 4 and stage.pods == {"tower-v2-predictor": 4}


def test_a_minimum_that_somebody_edits_is_the_installation_s_again(stage: OnFake) -> None:
    """The driver is its one owner: an edit would be lost at the next rollout anyway, and nobody would know when."""
    stage.cluster.edit("kubectl-edit", {"spec": {"predictor": {"minReplicas": 5}}})
    stage.step()
    owned = stage.cluster.objects[("inferenceservices", "tower")]
    assert stage.spec["predictor"]["minReplicas"] == 2
    minimum = ("spec", "predictor", "minReplicas")
    assert [manager for (manager, _), paths in owned.owners.items() if minimum in paths] == [MANAGER]


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


def test_addresses_name_the_version(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    assert stage.backend.addresses(target_of(stage.log.state())) == {
        "g1": "http://tower-v1-predictor.recall.svc",
        "g2": "http://tower-v2-predictor.recall.svc",
    }


def test_parts_that_are_missing_behind_the_tower_hold_the_rollout(stage: OnFake) -> None:
    stage.backend = KServeBackend(
        Cluster("recall", stage.api),
        "tower",
        "rollout",
        bounds=BOUNDS,
        probe=lambda manifest, _: [f"{manifest.collection} is not loaded"] if manifest.id == "g2" else [],
    )
    stage.driver = stage.drive()
    stage.start()
    for _ in range(10):
        look = stage.step()
    assert "recall_v2 is not loaded" in look.decision.waits


def test_every_object_that_was_sent_is_plain_json(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.FINISHED)
    assert json.loads(json.dumps(stage.cluster.applied)) == stage.cluster.applied


def test_says_what_it_lacks_where_nothing_leads_to_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise config.ConfigException("Service host/port is not set.")

    monkeypatch.setattr(config, "load_config", absent)
    with pytest.raises(ConfigError, match=r"neither a pod's service account nor a kubeconfig: Service host"):
        Cluster("pagoda")
