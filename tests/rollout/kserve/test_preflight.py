"""What holds a rollout before it touches KServe."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from pagoda.errors import UnavailableError
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of
from tests.rollout.kserve.fakes.apiserver import FakeCluster

from .stage import OnFake, chart

pytestmark = pytest.mark.integration


@pytest.fixture
def knative(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    return OnFake(cluster, api, chart("Knative"))


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
    assert any("older than 0.20" in problem for problem in problems(stage))
    cluster.knows_canary = True
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


def test_preflight_names_who_else_applies_replicas(stage: OnFake) -> None:
    # As an earlier chart did, or a values file of GitOps that was never brought up to date.
    stage.cluster.upgrade(chart("Standard", minReplicas=2))
    assert any("helm" in problem and "minReplicas" in problem for problem in problems(stage))


def test_preflight_refuses_an_autoscaler_that_leaves_canaries_alone(stage: OnFake) -> None:
    stage.cluster.service()["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "external"
    assert any("autoscalerClass external" in problem for problem in problems(stage))


def test_preflight_asks_for_the_right_to_clear_autoscalers_away(stage: OnFake) -> None:
    stage.cluster.denied = {("delete", "horizontalpodautoscalers")}
    assert problems(stage) == []
    stage.cluster.service()["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "hpa"
    assert problems(stage) == ["this account may not delete horizontalpodautoscalers.autoscaling in recall"]


def test_preflight_refuses_the_minimal_definitions(stage: OnFake) -> None:
    stage.cluster.knows_fields = False
    assert any("kserve-crd-minimal" in problem for problem in problems(stage))


def test_a_memory_that_somebody_damaged_is_named(stage: OnFake) -> None:
    notes = stage.cluster.objects[("leases", "rollout")].found["metadata"]["annotations"]
    notes["rollout.pagoda.dev/base"] = "two"
    with pytest.raises(UnavailableError, match=r"Lease recall/rollout.*'two'.*remove it"):
        stage.backend.apply(target_of(stage.log.state()))


def test_preflight_guesses_no_mode(stage: OnFake) -> None:
    # KServe's own default is Knative by its chart, and another elsewhere.
    del stage.cluster.service()["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
    del stage.cluster.service()["status"]["deploymentMode"]
    assert any("names no deployment mode" in problem for problem in problems(stage))
    with pytest.raises(UnavailableError, match="no known mode"):
        stage.backend.apply(target_of(stage.log.state()))


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
