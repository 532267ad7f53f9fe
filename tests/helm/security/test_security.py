"""Pods meet the restricted Pod Security Standard; service accounts can do their work and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.helm.charts import EVERYTHING, Chart, in_profile, rendered, with_values
from tests.helm.kserve_pods import STORAGE_CONTAINER, tower_pod
from tests.helm.restricted import violations


def test_should_meet_the_restricted_pod_security_standard(chart: Chart) -> None:
    assert not {name: found for name, template in chart.pods() if (found := violations(template["spec"]))}


def test_should_go_beyond_the_standard(chart: Chart) -> None:
    for name, container in chart.containers():
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert context["runAsUser"] > 10000, name
        assert context["readOnlyRootFilesystem"] is True, name


def test_should_let_the_platform_choose_the_user() -> None:
    chart = with_values(*EVERYTHING, "runAs.user=null", "runAs.group=null")
    assert not any("runAsUser" in container["securityContext"] for _, container in chart.containers())
    assert not any("fsGroup" in str(template) for _, template in chart.pods())
    # OpenShift's SCC restricted-v2 asks for the same and fills in the user.
    assert not {name: found for name, template in chart.pods() if (found := violations(template["spec"]))}


@pytest.mark.parametrize("profile", ["minimal", "production"])
def test_should_have_kserve_make_restricted_tower_pods_in_standard_mode(profile: str) -> None:
    assert violations(tower_pod(in_profile(profile), STORAGE_CONTAINER)) == []


def test_should_need_a_profile_of_kserves_storage_initializer_in_knative_mode() -> None:
    # Knative refuses a security context of the pod unless a feature flag is on.
    chart = in_profile("knative")
    assert violations(tower_pod(chart, STORAGE_CONTAINER)) == ["storage-initializer must set seccompProfile"]
    with_profile = {**STORAGE_CONTAINER, "seccompProfile": {"type": "RuntimeDefault"}}
    assert violations(tower_pod(chart, with_profile)) == []


def test_should_take_users_as_large_as_openshifts(tmp_path: Path) -> None:
    # Of a file: what --set says, Helm reads otherwise.
    values = tmp_path / "values.yaml"
    values.write_text("runAs: {user: 1000650000, group: 1000650001}")
    chart = rendered("--values", str(values))
    for name, container in chart.containers():
        context = container["securityContext"]
        assert (repr(context["runAsUser"]), repr(context["runAsGroup"])) == ("1000650000", "1000650001"), name
    assert repr(chart.one("StatefulSet", "pagoda-redis")["spec"]["template"]["spec"]["securityContext"]["fsGroup"]) == (
        "1000650001"
    )


def test_should_bound_memory_of_every_container(chart: Chart) -> None:
    for name, container in chart.containers():
        assert container["resources"]["limits"]["memory"], name
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name


def test_should_pin_every_image(chart: Chart) -> None:
    images = [container["image"] for _, container in chart.containers()]
    images += [milvus["spec"]["components"]["image"] for milvus in chart.of("Milvus")]
    assert all(re.search(r":v?\d+\.\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image) for image in images), images


def test_should_give_a_kubernetes_token_to_the_rollout_driver_alone(chart: Chart) -> None:
    with_token = {
        name
        for name, template in chart.pods()
        if "containers" in template["spec"] and template["spec"].get("automountServiceAccountToken") is not False
    }
    assert with_token - {"ServingRuntime/pagoda-tower"} == {"Deployment/pagoda-rollout"}
    for service in chart.of("InferenceService"):
        assert service["spec"]["predictor"]["automountServiceAccountToken"] is False
    assert all(account["automountServiceAccountToken"] is False for account in chart.of("ServiceAccount"))


def test_should_give_every_component_its_own_service_account(chart: Chart) -> None:
    known = {account["metadata"]["name"] for account in chart.of("ServiceAccount")}
    for name, template in chart.pods():
        if name.startswith(("Pod/", "ServingRuntime/")):
            continue
        assert template["spec"]["serviceAccountName"] in known, name


def _rules(chart: Chart, name: str) -> list[tuple[str, list[str], list[str], list[str]]]:
    (role,) = [role for role in chart.of("Role") if role["metadata"]["name"] == name]
    return [
        (rule["apiGroups"][0], rule["resources"], rule.get("resourceNames", []), rule["verbs"])
        for rule in role["rules"]
    ]


def _writes(chart: Chart) -> list[tuple[str, list[str], list[str], list[str]]]:
    """What the driver may change."""
    return [rule for rule in _rules(chart, "pagoda-rollout") if set(rule[3]) - {"get", "list", "watch"}]


def test_should_let_the_driver_touch_the_tower_and_its_lease_alone() -> None:
    own = [
        ("serving.kserve.io", ["inferenceservices"], ["pagoda-tower"], ["get", "patch"]),
        ("coordination.k8s.io", ["leases"], ["pagoda-rollout"], ["get", "patch"]),
    ]
    assert _writes(in_profile("minimal")) == _writes(in_profile("knative")) == own
    # KServe leaves the autoscalers of retired versions behind, whose names nobody knows beforehand.
    left = ("autoscaling", ["horizontalpodautoscalers"], [], ["list", "delete"])
    assert _writes(in_profile("production")) == [*own, left]


def test_should_ask_for_no_rights_beyond_the_namespace(chart: Chart) -> None:
    assert not chart.of("ClusterRole")
    assert not chart.of("ClusterRoleBinding")
    known = {"pagoda-rollout", "pagoda-pipelines-setup", "pagoda.pagoda-pipelines-training"}
    assert {role["metadata"]["name"] for role in chart.of("Role")} <= known
    for role in chart.of("Role"):
        assert "*" not in str(role["rules"])
        assert "secrets" not in str(role["rules"])


def test_should_keep_secrets_out_of_settings_and_arguments() -> None:
    chart = with_values(
        "objectStorage.credentials.accessKeyId=open-sesame", "objectStorage.credentials.secretAccessKey=xyzzy"
    )
    assert "xyzzy" not in str([resource for resource in chart.resources if resource["kind"] != "Secret"])
    assert "open-sesame" not in str([resource for resource in chart.resources if resource["kind"] != "Secret"])


def test_should_name_in_each_pod_only_settings_that_exist(chart: Chart) -> None:
    settings = chart.one("ConfigMap", "pagoda-settings")["data"]
    for name, container in chart.containers():
        for key in _config_keys(container):
            assert key in settings, f"{name}: {key}"


def _config_keys(container: dict[str, Any]) -> list[str]:
    sources = [variable.get("valueFrom", {}) for variable in container.get("env", [])]
    return [source["configMapKeyRef"]["key"] for source in sources if "configMapKeyRef" in source]


def test_should_give_each_part_a_user_of_redis_and_no_pod_more_tokens_than_it_shows() -> None:
    chart = with_values("workers.sink.enabled=true", "events.dataset=s3://a/b", "tests.enabled=true")
    users = {}
    for name, container in chart.containers():
        environment = {variable["name"]: variable for variable in container.get("env", [])}
        if "REDIS_PASSWORD" in environment:
            user = environment["REDIS_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"]
            assert environment["PAGODA_REDIS__URL"]["value"].startswith(f"redis://{user}:$(REDIS_PASSWORD)@")
            users[name] = user
    assert users == {
        "Deployment/pagoda-recall/recall": "recall",
        "Deployment/pagoda-rollout/driver": "rollout",
        "Deployment/pagoda-sink/sink": "sink",
    }
    shown = {
        name: [item["key"] for item in volume["secret"].get("items", [])]
        for name, pod in chart.pods()
        for volume in pod["spec"].get("volumes", [])
        if volume["name"] == "tokens"
    }
    assert shown == {"Deployment/pagoda-recall": [], "Pod/pagoda-test-recall": ["ask"]}
