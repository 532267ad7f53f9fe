"""What the chart hands to Kubeflow, and what the setup job may do there."""

from __future__ import annotations

import pytest

from helm.generate.chart import Resource
from pagoda.settings import TrainingSettings, load_settings
from pagoda.training_jobs.job import JOB_LABEL
from pipelines.kubernetes_platform import SETTINGS_KEYS
from tests.helm.charts import Chart, with_values

LABEL = "kueue.x-k8s.io/queue-name"
MULTI_USER = (
    "pipelines.kubeflow.multiUser=true",
    "pipelines.schedules.fullUpdate.enabled=true",
    "events.dataset=s3://b/d",
)


@pytest.mark.parametrize("queue", ["", "team"])
def test_should_queue_the_pods_of_training_alone(queue: str) -> None:
    chart = with_values("pipelines.publish=resources", f"pipelines.queue={queue}")
    queued = {}
    for version in chart.of("PipelineVersion"):
        steps = version["spec"]["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        queued |= {name: step["podMetadata"]["labels"].get(LABEL) for name, step in steps.items()}
    assert {name: found for name, found in queued.items() if found is not None} == (
        {"exec-train": queue} if queue else {}
    )


def test_should_make_another_version_of_what_waits_in_another_queue() -> None:
    names = [
        {one["metadata"]["name"] for one in with_values("pipelines.publish=resources", *sets).of("PipelineVersion")}
        for sets in ([], ["pipelines.queue=a"], ["pipelines.queue=b"])
    ]
    assert not names[0] & names[1] and not names[1] & names[2]


def test_should_upload_and_schedule_what_waits_in_the_queue() -> None:
    chart = with_values("pipelines.queue=team", *MULTI_USER)
    calls = [one["args"] for name, one in chart.containers() if "pipelines-setup" in name]
    assert len(calls) == 2
    assert all("--queue=team" in arguments for arguments in calls)


def test_should_let_the_setup_job_do_what_a_replaced_schedule_needs() -> None:
    """Verbs that Kubeflow asks about: kubeflow/pipelines 2.17.0, backend/src/apiserver/server/{job,run}_server.go."""
    (role,) = [
        one for one in with_values(*MULTI_USER).of("Role") if one["metadata"]["name"].endswith("pipelines-setup")
    ]
    allowed = {(name, verb) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}
    assert {("jobs", verb) for verb in ("list", "create", "disable", "delete")} | {("runs", "list")} <= allowed


TRAIN = "pipelines.trainJob.enabled=true"


def training(chart: Chart, kind: str) -> list[Resource]:
    """What stands there for jobs that train, of a kind."""
    return [one for one in chart.of(kind) if one["metadata"]["name"].endswith("pipelines-training")]


def test_should_give_no_right_over_jobs_before_it_is_asked_for() -> None:
    chart = with_values()
    assert not [kind for kind in ("Role", "RoleBinding", "NetworkPolicy") if training(chart, kind)]
    assert not [key for key in chart.for_steps("ConfigMap")["data"] if "TRAINING" in key]


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [("detected", {"trainjobs", "pytorchjobs"}), ("TrainJob", {"trainjobs"}), ("PyTorchJob", {"pytorchjobs"})],
)
def test_should_let_the_training_step_do_with_jobs_what_it_does_and_no_more(kind: str, kinds: set[str]) -> None:
    (role,) = training(with_values(TRAIN, f"pipelines.trainJob.kind={kind}"), "Role")
    allowed = {name: set(rule["verbs"]) for rule in role["rules"] for name in rule["resources"]}
    assert allowed == {
        **{name: {"create", "get", "delete"} for name in kinds},
        "pods": {"get", "list"},
        "pods/log": {"get"},
    }


@pytest.mark.parametrize(
    ("sets", "account", "namespace"),
    [
        ([], "pipeline-runner", "kubeflow"),
        (["pipelines.kubeflow.multiUser=true", "pipelines.namespace=team"], "default-editor", "team"),
        (["pipelines.serviceAccount=trainer"], "trainer", "kubeflow"),
    ],
)
def test_should_let_the_account_of_the_steps_do_it_there(sets: list[str], account: str, namespace: str) -> None:
    """Kubeflow's own accounts: kubeflow/pipelines 2.17.0, manifests/kustomize/base/installs/{generic,multi-user}."""
    (binding,) = training(with_values(TRAIN, *sets), "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]
    assert binding["metadata"]["namespace"] == namespace


def test_should_let_the_processes_of_a_job_speak_to_each_other_alone() -> None:
    (policy,) = training(with_values(TRAIN), "NetworkPolicy")
    spec = policy["spec"]
    assert spec["podSelector"]["matchExpressions"] == [{"key": JOB_LABEL, "operator": "Exists"}]
    assert [rule["from"] for rule in spec["ingress"]] == [[{"podSelector": spec["podSelector"]}]]
    assert [rule["to"] for rule in spec["egress"]] == [[{"podSelector": spec["podSelector"]}]]
    assert not training(with_values(TRAIN, "networkPolicy.enabled=false"), "NetworkPolicy")


def test_should_bring_the_settings_of_jobs_to_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = with_values(TRAIN, "pipelines.queue=team", "pipelines.trainJob.claim=shared")
    found = {key: value for key, value in chart.for_steps("ConfigMap")["data"].items() if "TRAINING" in key}
    assert set(found) <= set(SETTINGS_KEYS)
    for key, value in found.items():
        monkeypatch.setenv(key, value)
    assert load_settings().training == TrainingSettings(jobs="detected", queue="team", claim="shared")
