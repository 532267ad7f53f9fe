"""What the chart hands to Kubeflow, and what the setup job may do there."""

from __future__ import annotations

import pytest

from tests.helm.charts import with_values

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
