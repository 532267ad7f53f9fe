"""What a cluster asks of every pod and object, and of one part alone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from helm.generate.chart import CHART, Resource

from .charts import FOR_ALL, WORKERS, Chart, composed, fitted, given, pod_template, with_values

SPEC = ("hostAliases", "dnsPolicy", "dnsConfig", "nodeSelector", "tolerations", "affinity", "priorityClassName")
MILVUS = ("podLabels", "podAnnotations", "nodeSelector", "tolerations", "affinity", "priorityClassName")


def _pod(chart: Chart, name: str) -> Resource:
    return dict(composed(chart))[name]


def _recall(chart: Chart) -> dict[str, Any]:
    (container,) = _pod(chart, "Deployment/pagoda-recall")["spec"]["containers"]
    return dict(container)


def test_should_try_every_key_that_there_is_for_all_parts() -> None:
    assert set(FOR_ALL) == set(yaml.safe_load((CHART / "values.yaml").read_text())["common"]) - {"topologySpread"}


def test_should_give_every_pod_what_is_asked_of_all() -> None:
    pods = dict(composed(fitted()))
    assert len(pods) == 10
    for name, pod in pods.items():
        spec = pod["spec"]
        assert {key: spec[key] for key in SPEC} == {key: FOR_ALL[key] for key in SPEC}, name
        assert spec["securityContext"].items() >= FOR_ALL["podSecurityContext"].items(), name
        assert pod["metadata"]["labels"].items() >= FOR_ALL["podLabels"].items(), name
        assert pod["metadata"]["annotations"].items() >= FOR_ALL["podAnnotations"].items(), name
        assert FOR_ALL["extraVolumes"][0] in spec["volumes"], name
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert FOR_ALL["extraEnv"][0] in container["env"], name
            assert container["envFrom"] == FOR_ALL["extraEnvFrom"], name
            assert FOR_ALL["extraVolumeMounts"][0] in container["volumeMounts"], name
            assert container["securityContext"].items() >= FOR_ALL["securityContext"].items(), name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
    components = fitted().one("Milvus", "pagoda")["spec"]["components"]
    assert {key: components[key] for key in MILVUS} == {key: FOR_ALL[key] for key in MILVUS}


def test_should_label_and_annotate_every_object() -> None:
    for resource in fitted().resources:
        if resource["metadata"]["name"] != "ours":
            assert resource["metadata"]["labels"].items() >= FOR_ALL["labels"].items(), resource["kind"]
            assert resource["metadata"]["annotations"].items() >= FOR_ALL["annotations"].items(), resource["kind"]


def test_should_keep_the_labels_that_select_pods() -> None:
    taken = {"app.kubernetes.io/name": "ours", "app.kubernetes.io/component": "ours"}
    chart = given({"common": {"labels": taken, "podLabels": taken}}, *WORKERS)
    for kind in ("Deployment", "StatefulSet"):
        for resource in chart.of(kind):
            assert (
                resource["spec"]["selector"]
                == with_values(*WORKERS).one(kind, resource["metadata"]["name"])["spec"]["selector"]
            )
            labels = pod_template(resource)["metadata"]["labels"]
            assert resource["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert "ours" not in str(chart.one("InferenceService", "pagoda-tower")["metadata"]["labels"])


def test_should_put_a_parts_own_over_what_is_asked_of_all() -> None:
    own = {
        "nodeSelector": {"pool": "own", "disk": "ssd"},
        "tolerations": [{"key": "own"}],
        "priorityClassName": "own",
        "securityContext": {"readOnlyRootFilesystem": False},
    }
    everywhere = {"nodeSelector": {"pool": "all"}, "tolerations": [{"key": "all"}], "priorityClassName": "all"}
    chart = given({"common": everywhere, "recall": own})
    spec = _pod(chart, "Deployment/pagoda-recall")["spec"]
    assert spec["nodeSelector"] == {"pool": "own", "disk": "ssd"}
    assert spec["tolerations"] == [{"key": "all"}, {"key": "own"}]
    assert spec["priorityClassName"] == "own"
    assert _recall(chart)["securityContext"]["readOnlyRootFilesystem"] is False
    assert _recall(chart)["securityContext"]["runAsNonRoot"] is True
    assert _pod(chart, "Deployment/pagoda-rollout")["spec"]["nodeSelector"] == {"pool": "all"}


@pytest.mark.parametrize(
    ("part", "pod"),
    [
        ("recall", "Deployment/pagoda-recall"),
        ("tower", "InferenceService/pagoda-tower"),
        ("rollout", "Deployment/pagoda-rollout"),
        ("mlflow", "Deployment/pagoda-mlflow"),
        ("redis", "StatefulSet/pagoda-redis"),
        ("workers.sink", "Deployment/pagoda-sink"),
        ("workers.items", "Deployment/pagoda-items"),
        ("retention", "CronJob/pagoda-retention"),
        ("tests", "Pod/pagoda-test-recall"),
        ("pipelines.job", "Job/pagoda-pipelines-setup"),
    ],
)
def test_should_take_for_one_part_alone_what_all_may_have(part: str, pod: str) -> None:
    chart = with_values(
        *WORKERS,
        f"{part}.priorityClassName=own",
        f"{part}.podLabels.own=yes",
        f"{part}.labels.ours=yes",
        f"{part}.extraEnv[0].name=OWN",
    )
    having = {name.rsplit("-", 1)[0] if name.startswith("Job/") else name: one for name, one in composed(chart)}
    assert {name for name, one in having.items() if one["spec"].get("priorityClassName")} == {pod}
    assert {name for name, one in having.items() if "own" in one["metadata"]["labels"]} == {pod}
    assert {name for name, one in having.items() if "OWN" in str(one["spec"]["containers"])} == {pod}
    assert {one["metadata"]["labels"]["ours"] for one in chart.resources if "ours" in one["metadata"]["labels"]} == {
        "yes"
    }


def test_should_give_the_follower_variables_of_its_own() -> None:
    chart = with_values("tower.follower.extraEnv[0].name=OWN")
    tower, follower = chart.one("ServingRuntime", "pagoda-tower")["spec"]["containers"]
    assert "OWN" in str(follower["env"]) and "OWN" not in str(tower["env"])


ACCOUNTS = {
    "recall": "Deployment/pagoda-recall",
    "tower": "InferenceService/pagoda-tower",
    "rollout": "Deployment/pagoda-rollout",
    "mlflow": "Deployment/pagoda-mlflow",
    "redis": "StatefulSet/pagoda-redis",
    "workers": "Deployment/pagoda-items",
    "retention": "CronJob/pagoda-retention",
    "pipelines.job": "Job/pagoda-pipelines-setup",
}


@pytest.mark.parametrize("part", ACCOUNTS)
def test_should_run_as_an_account_that_somebody_else_made(part: str) -> None:
    sets = (*WORKERS, "pipelines.kubeflow.multiUser=true")
    chart = with_values(*sets, f"{part}.serviceAccount.create=false", f"{part}.serviceAccount.name=theirs")
    (pod,) = [one for name, one in composed(chart) if name.startswith(ACCOUNTS[part])]
    assert pod["spec"]["serviceAccountName"] == "theirs"
    assert len(chart.of("ServiceAccount")) == len(with_values(*sets).of("ServiceAccount")) - 1
    bound = {binding["subjects"][0]["name"] for binding in chart.of("RoleBinding")}
    assert ("theirs" in bound) == (part in ("rollout", "pipelines.job"))


def test_should_give_an_account_a_cloud_identity() -> None:
    sets = ("serviceAccounts.annotations.all=yes", "recall.serviceAccount.annotations.own=yes")
    found = {
        one["metadata"]["name"]: one["metadata"].get("annotations", {})
        for one in with_values(*sets).of("ServiceAccount")
    }
    assert found["pagoda-recall"] == {"all": "yes", "own": "yes"}
    assert found["pagoda-tower"] == {"all": "yes"}
    assert found["pagoda-redis"] == {}
    account = with_values("milvus.serviceAccountName=theirs").one("Milvus", "pagoda")["spec"]["components"]
    assert account["serviceAccountName"] == "theirs"


def test_should_change_a_part_of_a_probe_or_put_another_in_its_place() -> None:
    chart = with_values(
        "recall.readinessProbe.periodSeconds=9",
        "redis.livenessProbe.tcpSocket=null",
        "redis.livenessProbe.exec.command={a}",
    )
    assert _recall(chart)["readinessProbe"]["periodSeconds"] == 9
    assert _recall(chart)["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    (redis,) = _pod(chart, "StatefulSet/pagoda-redis")["spec"]["containers"]
    assert {"exec", "tcpSocket"} & set(redis["livenessProbe"]) == {"exec"}


def test_should_write_volumes_in_a_pod_whose_security_context_is_given() -> None:
    spec = _pod(with_values("redis.podSecurityContext.runAsUser=5"), "StatefulSet/pagoda-redis")["spec"]
    assert spec["securityContext"] == {"fsGroup": 10001, "runAsUser": 5}


def test_should_add_objects_of_your_own_with_templates_in_them() -> None:
    assert fitted().one("ConfigMap", "ours")["data"] == {"who": "pagoda"}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-more\n"
    assert given({"extraObjects": [text]}).one("ConfigMap", "pagoda-more")
