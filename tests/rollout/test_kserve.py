"""Rollouts on KServe, against a fake of the Kubernetes HTTP API that validates what it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil
from typing import Any

import pytest
from kubernetes import client, config

from pagoda.errors import ConfigError, ConflictError, UnavailableError
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.backend import KServeBackend
from pagoda.rollout.backends.kserve.cluster import MANAGER, Cluster
from pagoda.rollout.machine import Phase
from pagoda.rollout.reading import rollout_of
from pagoda.rollout.target import target_of

from .fakes.apiserver import FakeCluster, served
from .kserve import LABELS, OnFake, chart
from .worlds import add_full, add_incremental, quick

pytestmark = pytest.mark.integration


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def api(cluster: FakeCluster) -> Iterator[client.ApiClient]:
    with served(cluster) as found:
        yield found


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
    assert stage.cluster.controllers.deleted.count("tower-v1-predictor") == 1
    assert stage.cluster.controllers.weights == {"tower-v2-predictor": 100}


def test_the_old_pods_stay_until_the_grace_is_over(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.PROMOTED)
    for _ in range(50):
        stage.step()
        assert stage.pods["tower-v1-predictor"] == 2 and stage.cluster.controllers.weights["tower-v1-predictor"] == 0
    commands.abort(stage.log, by="ann")
    stage.step()
    assert stage.percents() == {"v2": 0} and stage.cluster.controllers.weights["tower-v1-predictor"] == 100


def test_a_rollback_takes_traffic_at_once_and_pods_after_the_drain(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.metrics.error_rate = 0.5
    stage.step()
    assert stage.percents() == {"v2": 0} and stage.cluster.controllers.weights["tower-v1-predictor"] == 100
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


def test_shares_are_of_the_replicas_that_an_autoscaler_runs_now(stage: OnFake) -> None:
    stage.cluster.controllers.load = 7
    stage.cluster.tick()
    stage.cluster.tick()
    stage.start()
    stage.until(Phase.CANARY)
    assert stage.pods["tower-v2-predictor"] >= 1
    while rollout_of(stage.log.state()).step == 0:
        stage.step()
    assert stage.pods["tower-v2-predictor"] >= 4, "half of seven"
    assert stage.pods["tower-v1-predictor"] >= 7
    stage.until(Phase.PROMOTED)
    assert stage.pods["tower-v2-predictor"] >= 7


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
    assert found["metadata"]["annotations"] == original["metadata"]["annotations"]
    ours = ("name", "minReplicas", "canaryTrafficPercent")
    theirs = {key: value for key, value in found["spec"]["predictor"].items() if key not in ours}
    theirs["model"] = {key: value for key, value in theirs["model"].items() if key != "storageUri"}
    expected = {key: value for key, value in original["spec"]["predictor"].items() if key not in ours}
    assert theirs == expected
    named = {key for body in stage.cluster.applied for key in body["spec"]["predictor"]}
    assert named == {"name", "minReplicas", "model"}
    assert all(set(body["spec"]["predictor"]["model"]) == {"storageUri"} for body in stage.cluster.applied)


def test_a_helm_upgrade_in_the_middle_changes_no_traffic(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    body = chart("Standard", serviceAccountName="other")
    del body["spec"]["predictor"]["minReplicas"]
    owned = stage.cluster.objects[("inferenceservices", "tower")]
    owned.apply(body, "helm", force=False)
    assert stage.percents() == {"v2": 10} and stage.spec["predictor"]["model"]["storageUri"] == "s3://towers/1"


def test_the_minimum_goes_back_to_its_owner(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.FINISHED)
    stage.step()
    owned = stage.cluster.objects[("inferenceservices", "tower")]
    owned.apply(chart("Standard"), "helm", force=False)
    stage.step()
    minimum = ("spec", "predictor", "minReplicas")
    assert minimum not in owned.owners[(MANAGER, "Apply")] and minimum in owned.owners[("helm", "Apply")]
    owned.apply(chart("Standard", minReplicas=3), "helm", force=False)
    stage.step()
    assert stage.spec["predictor"]["minReplicas"] == 3


def test_a_minimum_that_somebody_edits_stays(stage: OnFake) -> None:
    stage.cluster.edit("kubectl-edit", {"spec": {"predictor": {"minReplicas": 5}}})
    for _ in range(3):
        stage.step()
    assert stage.spec["predictor"]["minReplicas"] == 5


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
    stage.cluster.failures = [503] * 50
    stage.metrics.error_rate = 0.5
    look = stage.driver.reconcile()
    assert look.trouble and stage.log.state().arms.canary is None
    stage.cluster.failures = []
    stage.step()
    assert stage.percents() == {"v2": 0}


def test_what_the_webhook_denies_is_reported(stage: OnFake) -> None:
    stage.cluster.edit("somebody", {"spec": {"predictor": {"model": {"modelFormat": {"nonsense": True}}}}})
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
        probe=lambda manifest, _: [f"{manifest.collection} is not loaded"] if manifest.id == "g2" else [],
    )
    stage.driver = stage.drive()
    stage.start()
    for _ in range(10):
        look = stage.step()
    assert "recall_v2 is not loaded" in look.decision.waits


@pytest.fixture
def knative(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    return OnFake(cluster, api, "Knative")


def share(stage: OnFake) -> int:
    return int(stage.spec["predictor"].get("canaryTrafficPercent", 100))


def test_knative_makes_one_revision_a_version_and_moves_its_share(knative: OnFake) -> None:
    knative.start()
    shares = []
    while "g1" not in knative.log.state().retired:
        assert knative.pods["tower-predictor-00002-deployment"] >= 2, "a rollback must need nothing new"
        if not shares or shares[-1] != share(knative):
            shares.append(share(knative))
        knative.step()
    assert shares == [100, 0, 10, 50, 99] and share(knative) == 100
    knative.step()
    assert len(knative.cluster.controllers.revisions) == 3 and knative.restarts() == 0
    assert knative.cluster.controllers.weights == {"tower-predictor-00003": 100}


def test_knative_rolls_back_to_the_revision_before(knative: OnFake) -> None:
    for end in (Phase.CANARY, Phase.PROMOTED):
        version = max(manifest.full_version for manifest in knative.log.state().generations.values()) + 1
        add_full(knative.log, version)
        commands.start(knative.log, f"g{version}", policy=quick(), by="test")
        knative.until(end)
        commands.abort(knative.log, by="ann")
        knative.step()
        assert share(knative) == 0 and knative.cluster.controllers.weights["tower-predictor-00002"] == 100
        knative.until(Phase.FINISHED)
        knative.step()
        assert knative.cluster.controllers.weights["tower-predictor-00002"] == 100
    knative.start()
    knative.until(Phase.FINISHED)
    knative.step()
    knative.step()
    assert knative.cluster.controllers.weights == {"tower-predictor-00005": 100}
    assert len(knative.cluster.controllers.revisions) == 5


def test_knative_arms_are_addressed_by_tag(knative: OnFake) -> None:
    knative.start()
    knative.until(Phase.CANARY)
    assert knative.backend.addresses(target_of(knative.log.state())) == {
        "g1": "http://prev-tower-predictor.recall.example",
        "g2": "http://latest-tower-predictor.recall.example",
    }


def test_knative_candidates_start_with_as_many_pods_as_the_stable_revision_has(knative: OnFake) -> None:
    knative.cluster.controllers.pods["tower-predictor-00002-deployment"].replicas = 6
    knative.cluster.controllers.tick()
    knative.start()
    knative.until(Phase.CANARY)
    assert knative.pods["tower-predictor-00003-deployment"] == 6


def problems(stage: OnFake) -> list[str]:
    state = stage.log.state()
    target = target_of(state)
    return stage.backend.preflight(
        type(target)(state.head, state.generations["g1"], state.generations["g2"], capacity=10)
    )


def test_a_sound_cluster_passes_preflight(stage: OnFake) -> None:
    assert problems(stage) == []


def test_a_sound_knative_cluster_passes_preflight(knative: OnFake) -> None:
    assert problems(knative) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"predictor": {"canaryTrafficPercent": 10}}, "silently ignores canaryTrafficPercent"),
        ({"transformer": {"containers": [{"name": "t"}]}}, "transformer"),
        ({"predictor": {"maxReplicas": 3}}, "leaves no room"),
        ({"canary": [{"trafficPercent": 5, "predictor": {"name": "mine", "model": {}}}]}, "mine is not Pagoda's"),
        ({"predictor": {"model": None}}, "no `model`"),
    ],
)
def test_preflight_refuses_what_kserve_would_ignore(stage: OnFake, spec: dict[str, Any], said: str) -> None:
    stage.cluster.objects[("inferenceservices", "tower")].merge({"spec": spec}, "somebody")
    assert any(said in problem for problem in problems(stage))


def test_preflight_names_each_thing_that_is_missing(stage: OnFake) -> None:
    cluster = stage.cluster
    cluster.knows_canary = False
    assert any("older than 0.21" in problem for problem in problems(stage))
    cluster.knows_canary = True
    cluster.apis.add("no gateway")
    assert any("accepted by no Gateway" in problem for problem in problems(stage))
    cluster.apis.add("no route")
    assert any("enableGatewayApi" in problem for problem in problems(stage))
    cluster.apis.discard("gateway.networking.k8s.io/v1")
    assert any("Gateway API" in problem for problem in problems(stage))
    del cluster.objects[("leases", "rollout")]
    assert any("Lease recall/rollout is missing" in problem for problem in problems(stage))
    cluster.denied = {("patch", "inferenceservices")}
    assert problems(stage) == ["this account may not patch inferenceservices.serving.kserve.io tower in recall"]
    cluster.denied = set()
    del cluster.objects[("inferenceservices", "tower")]
    assert problems(stage) == ["InferenceService recall/tower is missing; the chart makes it"]
    with pytest.raises(UnavailableError, match="is not there"):
        stage.backend.status(target_of(stage.log.state()))
    cluster.apis.discard("serving.kserve.io/v1beta1")
    assert problems(stage) == ["KServe is not installed: the API serving.kserve.io/v1beta1 is missing"]


def test_preflight_names_who_else_applies_our_fields(stage: OnFake) -> None:
    body = chart("Standard")
    body["spec"]["predictor"]["model"]["storageUri"] = "s3://towers/1"
    stage.cluster.objects[("inferenceservices", "tower")].apply(body, "argocd", force=True)
    assert any("argocd" in problem and "storageUri" in problem for problem in problems(stage))


def test_preflight_refuses_knative_without_tags(knative: OnFake) -> None:
    knative.cluster.service()["metadata"]["annotations"].pop("serving.kserve.io/enable-tag-routing")
    knative.cluster.apis.discard("serving.knative.dev/v1")
    found = problems(knative)
    assert any("enable-tag-routing" in problem for problem in found) and any("Knative Serving" in p for p in found)


def test_preflight_refuses_other_modes(stage: OnFake) -> None:
    stage.cluster.service()["status"]["deploymentMode"] = "ModelMesh"
    assert any("ModelMesh" in problem for problem in problems(stage))
    with pytest.raises(UnavailableError, match="ModelMesh"):
        stage.backend.apply(target_of(stage.log.state()))


def test_preflight_problems_hold_the_rollout_until_they_are_gone(stage: OnFake) -> None:
    stage.cluster.denied = {("list", "deployments")}
    stage.start()
    look = stage.step()
    assert any("may not list deployments" in wait for wait in look.decision.waits)
    stage.cluster.denied = set()
    stage.until(Phase.CANARY)


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
