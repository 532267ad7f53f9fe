"""Rollouts on KServe in Standard mode, against a fake of the Kubernetes HTTP API that validates what it is sent."""

from __future__ import annotations

from math import ceil

import pytest
from kubernetes import client, config

from pagoda.cluster import Cluster
from pagoda.errors import ConfigError
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.backend import KServeBackend
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of
from tests.rollout.kserve.fakes.apiserver import FakeCluster
from tests.rollout.kserve.fakes.standard import SOURCE
from tests.rollout.worlds import add_full, add_incremental, quick

from .stage import BOUNDS, OnFake, chart

pytestmark = pytest.mark.integration


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


def test_says_what_it_lacks_where_nothing_leads_to_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise config.ConfigException("Service host/port is not set.")

    monkeypatch.setattr(config, "load_config", absent)
    with pytest.raises(ConfigError, match=r"neither a pod's service account nor a kubeconfig: Service host"):
        Cluster("pagoda")
