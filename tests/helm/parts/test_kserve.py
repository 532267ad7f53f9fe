"""The user tower on KServe: what each mode understands, and nothing that it ignores."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from helm.generate.chart import PROFILES, Resource
from pagoda.settings import tower_address, tower_addresses
from tests.helm.charts import Chart, in_profile, with_values

DRIVERS = {"storageUri", "name", "canaryTrafficPercent", "canary"}
KNATIVE_ONLY = {"containerConcurrency", "timeout", "canaryTrafficPercent"}
STANDARD_ONLY = {"deploymentStrategy"}
FLAGGED = {
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "securityContext",
    "hostAliases",
    "dnsPolicy",
    "dnsConfig",
}


@pytest.fixture(params=["defaults", *(name for name in PROFILES if name != "compact")])
def chart(request: pytest.FixtureRequest) -> Chart:
    """The chart in each profile that has KServe."""
    return with_values() if request.param == "defaults" else in_profile(request.param)


def _predictor(chart: Chart) -> Resource:
    predictor: Resource = chart.one("InferenceService", "pagoda-tower")["spec"]["predictor"]
    return predictor


def _of_driver(chart: Chart) -> dict[str, Any]:
    """The driver's variables that are written out."""
    (container,) = chart.one("Deployment", "pagoda-rollout")["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def test_should_address_the_predictor_of_each_full_version() -> None:
    url = in_profile("production").one("ConfigMap", "pagoda-settings")["data"]["PAGODA_TOWER__URL"]
    assert tower_address(url, 7) == ("http://pagoda-tower-v7-predictor.pagoda.svc.cluster.local/predictions/pagoda/7.0")


def test_should_address_both_revisions_in_knative_mode() -> None:
    chart = in_profile("knative")
    url = chart.one("ConfigMap", "pagoda-settings")["data"]["PAGODA_TOWER__URL"]
    hosts = [httpx.URL(address).host for address in tower_addresses(url, 7)]
    # As Knative names the service of a tag; the annotation makes KServe set the tags.
    assert hosts == [f"{tag}-pagoda-tower-predictor.pagoda.svc.cluster.local" for tag in ("latest", "prev")]
    annotations = chart.one("InferenceService", "pagoda-tower")["metadata"]["annotations"]
    assert annotations["serving.kserve.io/enable-tag-routing"] == "true"


def test_should_leave_traffic_and_versions_to_the_rollout_driver(chart: Chart) -> None:
    service = chart.one("InferenceService", "pagoda-tower")
    assert not DRIVERS & {*service["spec"], *_predictor(chart), *_predictor(chart)["model"]}


def test_should_set_no_field_that_standard_mode_ignores() -> None:
    chart = in_profile("production")
    assert not KNATIVE_ONLY & set(_predictor(chart))
    annotations = chart.one("InferenceService", "pagoda-tower")["metadata"]["annotations"]
    assert annotations == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "hpa",
        "serving.kserve.io/storageSecretName": "pagoda-object-storage",
        "serving.kserve.io/secretName": "pagoda-object-storage",
    }


def test_should_set_no_field_that_knative_mode_ignores_or_refuses() -> None:
    chart = in_profile("knative")
    assert not (STANDARD_ONLY | FLAGGED) & set(_predictor(chart))
    assert _predictor(chart)["scaleMetric"] == "concurrency"
    annotations = chart.one("InferenceService", "pagoda-tower")["metadata"]["annotations"]
    assert "serving.kserve.io/autoscalerClass" not in annotations
    assert annotations["serving.kserve.io/enable-tag-routing"] == "true"


def test_should_schedule_in_knative_mode_once_its_feature_flags_are_on() -> None:
    chart = in_profile("knative", "tower.knative.schedulingFeatures=true", "tower.nodeSelector.disk=ssd")
    assert _predictor(chart)["nodeSelector"] == {"disk": "ssd"}


def test_should_fit_pods_in_knative_mode_once_its_feature_flags_are_on() -> None:
    chart = in_profile(
        "knative", "tower.knative.podFeatures=true", "tower.dnsPolicy=Default", "tower.podSecurityContext.fsGroup=1"
    )
    assert (_predictor(chart)["dnsPolicy"], _predictor(chart)["securityContext"]) == ("Default", {"fsGroup": 1})


def test_should_not_ask_kserve_for_scaling_that_is_off() -> None:
    assert not {"scaleMetric", "scaleTarget"} & set(_predictor(with_values()))
    assert "PAGODA_ROLLOUT__MAX_REPLICAS" not in _of_driver(with_values())


def test_should_tell_the_driver_how_many_replicas_and_not_kserve_beside_it() -> None:
    """Two owners of a field conflict at the first upgrade after a rollout has changed it."""
    chart = in_profile("production")
    assert not {"minReplicas", "maxReplicas"} & set(_predictor(chart))
    told = _of_driver(chart)
    assert (told["PAGODA_ROLLOUT__MIN_REPLICAS"], told["PAGODA_ROLLOUT__MAX_REPLICAS"]) == ("3", "12")


def test_should_tell_kserve_where_there_is_no_driver() -> None:
    predictor = _predictor(in_profile("production", "rollout.enabled=false"))
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (3, 12)


def test_should_serve_from_our_own_runtime(chart: Chart) -> None:
    runtime = chart.one("ServingRuntime", "pagoda-tower")
    assert _predictor(chart)["model"]["runtime"] == "pagoda-tower"
    assert {container["image"].split(":")[0] for container in runtime["spec"]["containers"]} == {"ghcr.io/pagoda/tower"}


def test_should_let_only_the_inference_port_out_of_the_pod(chart: Chart) -> None:
    tower, follower = chart.one("ServingRuntime", "pagoda-tower")["spec"]["containers"]
    assert [port["containerPort"] for port in tower["ports"]] == [8080]
    assert "ports" not in follower
    told = [*tower["args"], *(one.get("value", "") for one in tower["env"])]
    assert [text for text in told if "://" in text] == ["http://0.0.0.0:8080"]


def test_should_be_ready_only_with_its_generation(chart: Chart) -> None:
    tower = chart.one("ServingRuntime", "pagoda-tower")["spec"]["containers"][0]
    assert tower["readinessProbe"]["exec"]["command"] == ["python", "-m", "serving.tower.ready"]


def test_should_bring_tables_by_a_follower_to_a_volume_of_the_pod(chart: Chart) -> None:
    spec = chart.one("ServingRuntime", "pagoda-tower")["spec"]
    tower, follower = spec["containers"]
    (tables,) = [volume for volume in spec["volumes"] if volume["name"] == "tables"]
    assert tables["emptyDir"]["sizeLimit"]
    assert {"name": "tables", "mountPath": "/tables", "readOnly": True} in tower["volumeMounts"]
    assert {"name": "tables", "mountPath": "/tables"} in follower["volumeMounts"]
    for container in (tower, follower):
        assert {"name": "PAGODA_TOWER__TABLES", "value": "/tables"} in container["env"]


@pytest.mark.parametrize(("profile", "waits"), [("production", True), ("knative", False)])
def test_should_answer_on_until_callers_have_gone_elsewhere(profile: str, waits: bool) -> None:
    """Knative's queue proxy sees to it there, and refuses a `lifecycle`."""
    tower = in_profile(profile).one("ServingRuntime", "pagoda-tower")["spec"]["containers"][0]
    assert ("lifecycle" in tower) == waits


@pytest.mark.parametrize("profile", ["production", "knative"])
def test_should_protect_both_arms_from_a_drain(profile: str) -> None:
    chart = in_profile(profile)
    selector = chart.one("PodDisruptionBudget", "pagoda-tower")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= chart.one("InferenceService", "pagoda-tower")["metadata"]["labels"].items()


KSERVE = "tower.runtime=kserve"


@pytest.mark.parametrize("profile", ["minimal", "production", "knative"])
def test_should_serve_from_kserves_model_server_where_it_is_chosen(profile: str) -> None:
    """All that callers, driver and KServe see of it is as with TorchServe."""
    theirs, ours = in_profile(profile, "tower.workers=1"), in_profile(profile, "tower.workers=1", KSERVE)
    assert theirs.one("InferenceService", "pagoda-tower") == ours.one("InferenceService", "pagoda-tower")
    before, after = (chart.one("ServingRuntime", "pagoda-tower")["spec"] for chart in (theirs, ours))
    kept = ("supportedModelFormats", "protocolVersions", "volumes", "multiModel")
    assert {key: before[key] for key in kept} == {key: after[key] for key in kept}
    assert {one["image"].split(":")[0] for one in after["containers"]} == {"ghcr.io/pagoda/tower-kserve"}
    was, tower = before["containers"][0], after["containers"][0]
    assert tower["command"] == ["python", "-m", "serving.tower.kserve"]
    assert "--store=/mnt/models" in tower["args"]
    changed = {"image", "command", "args", "env"}
    assert {key: was[key] for key in was.keys() - changed} == {key: tower[key] for key in tower.keys() - changed}
