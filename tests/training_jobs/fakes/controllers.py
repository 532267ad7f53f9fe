"""What the controllers of TrainJobs and PyTorchJobs, and Kueue, admit and write; files and versions at each.

kubeflow/trainer v2.3.0 (TR), kubeflow/training-operator v1.9.0 (TO), kubernetes-sigs/kueue ff69552 (KU).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

QUEUE = "kueue.x-k8s.io/queue-name"
EVENTS = ("reconcile", "admit", "preempt", "run", "complete", "fail", "collect")
"""`admit` and `preempt` are Kueue's; `collect` is what the namespace does to jobs that are being deleted."""

Job = dict[str, Any]


class Controller(Protocol):
    """Of one kind of job."""

    kind: str
    group_version: str

    def admit(self, job: Job) -> str:
        """Why the webhooks refuse a new job, after they have filled it in; empty where they do not."""

    def play(self, job: Job, event: str) -> None:
        """Something happens, and the controller writes what it makes of it."""


class TrainJobs:
    """Kubeflow Trainer's."""

    kind, group_version = "TrainJob", "trainer.kubeflow.org/v1alpha1"

    def __init__(self) -> None:
        self.runtimes = {"torch-distributed": {"node": ["node"]}}
        """Containers by replicated job: TR:manifests/base/runtimes/torch_distributed.yaml."""

    def admit(self, job: Job) -> str:
        spec, name = job["spec"], job["metadata"]["name"]
        # TR:pkg/apis/trainer/v1alpha1/trainjob_types.go:36-37
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
            return "metadata.name must match RFC 1035 DNS label format"
        # TR:pkg/runtime/core/clustertrainingruntime.go:112-120
        runtime = self.runtimes.get(spec["runtimeRef"]["name"])
        if runtime is None:
            return "specified clusterTrainingRuntime must be created before the TrainJob is created"
        # TR:pkg/runtime/framework/plugins/torch/torch.go:65-76
        reserved = [each["name"] for each in spec["trainer"].get("env", []) if each["name"].startswith("PET_")]
        if reserved:
            return f"must not have reserved envs, invalid envs configured: {reserved}"
        for patch in spec.get("runtimePatches", []):
            if problem := self._refused_patch(patch, runtime):
                return problem
        if QUEUE in job["metadata"].get("labels", {}):
            # KU:pkg/controller/jobs/trainjob/trainjob_webhook.go:68-104
            spec["suspend"] = True
            spec.setdefault("runtimePatches", []).append({"manager": "kueue.x-k8s.io/manager"})
        return ""

    @staticmethod
    def _refused_patch(patch: Mapping[str, Any], runtime: Mapping[str, list[str]]) -> str:
        """TR:pkg/runtime/framework/plugins/jobset/jobset.go, Validate."""
        for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            if job["name"] not in runtime:
                return "must not have replicated job that doesn't exist in the runtime job template"
            for container in job["template"]["spec"]["template"]["spec"]["containers"]:
                if container["name"] not in runtime[job["name"]]:
                    return f"must not have container that doesn't exist in the runtime job {job['name']}"
                if container.get("env"):
                    return "must not have envs for the dataset-initializer, model-initializer, node containers"
        return ""

    def play(self, job: Job, event: str) -> None:
        status, spec = job.setdefault("status", {}), job["spec"]
        if _is_true(status, "Complete") or _is_true(status, "Failed"):
            return
        suspended = bool(spec.get("suspend"))
        if event == "admit":
            spec["suspend"] = False
        elif event == "preempt" and QUEUE in job["metadata"].get("labels", {}):
            spec["suspend"], status["jobsStatus"] = True, [_jobs_status(suspended=1)]
        elif not suspended and event == "run":
            status["jobsStatus"] = [_jobs_status(active=1, ready=1)]
        elif not suspended and event == "complete":
            # TR:plugins/jobset/jobset.go:462-469: type renamed, reason and message as the JobSet has them.
            _set(status, "Complete", "True", "AllJobsCompleted", "jobset completed successfully")
            status["jobsStatus"] = [_jobs_status(succeeded=1)]
        elif not suspended and event == "fail":
            _set(status, "Failed", "True", "FailedJobs", "jobset failed due to one or more job failures")
            status["jobsStatus"] = [_jobs_status(failed=1)]
        # TR:pkg/controller/trainjob_controller.go:201-222: a job that never was suspended has no such condition.
        if spec.get("suspend"):
            _set(status, "Suspended", "True", "Suspended", "TrainJob is suspended")
        elif _is_true(status, "Suspended"):
            _set(status, "Suspended", "False", "Resumed", "TrainJob is resumed")


class PyTorchJobs:
    """The training operator's."""

    kind, group_version = "PyTorchJob", "kubeflow.org/v1"

    def admit(self, job: Job) -> str:
        # TO:pkg/webhooks/pytorch/pytorchjob_webhook.go: the container must be called pytorch.
        for role in job["spec"]["pytorchReplicaSpecs"].values():
            if "pytorch" not in [each["name"] for each in role["template"]["spec"]["containers"]]:
                return "must have at least one container with name pytorch"
        if QUEUE in job["metadata"].get("labels", {}):
            # KU:pkg/controller/jobs/kubeflow/kubeflowjob/kubeflowjob_controller.go:50-115
            job["spec"]["runPolicy"]["suspend"] = True
        return ""

    def play(self, job: Job, event: str) -> None:
        status, policy = job.setdefault("status", {}), job["spec"]["runPolicy"]
        if _is_true(status, "Succeeded") or _is_true(status, "Failed"):
            return
        # TO:pkg/controller.v1/pytorch/pytorchjob_controller.go:517-527
        self._update(status, "Created", "True", "PyTorchJobCreated")
        suspended = bool(policy.get("suspend"))
        if event == "admit":
            policy["suspend"] = False
        elif event == "preempt" and QUEUE in job["metadata"].get("labels", {}):
            policy["suspend"] = True
        elif not suspended and event == "run":
            self._update(status, "Running", "True", "PyTorchJobRunning")
        elif not suspended and event == "complete":
            self._update(status, "Succeeded", "True", "PyTorchJobSucceeded")
        elif not suspended and event == "fail":
            self._update(status, "Failed", "True", "PyTorchJobFailed")
        # TO:pkg/controller.v1/common/job.go:145-170
        if policy.get("suspend"):
            if _is_true(status, "Running"):
                self._update(status, "Running", "False", "PyTorchJobSuspended")
            self._update(status, "Suspended", "True", "PyTorchJobSuspended")
        elif _is_true(status, "Suspended"):
            self._update(status, "Suspended", "False", "PyTorchJobResumed")

    @staticmethod
    def _update(status: dict[str, Any], name: str, value: str, reason: str) -> None:
        """TO:pkg/util/status.go:120-180: Failed is final; an end makes Running false; Running replaces Restarting."""
        if _is_true(status, "Failed"):
            return
        _set(status, name, value, reason, f"PyTorchJob is {reason.removeprefix('PyTorchJob').lower()}.")
        if name in ("Failed", "Succeeded") and _is_true(status, "Running"):
            _set(status, "Running", "False", reason, "")


CONTROLLERS: dict[str, type[TrainJobs] | type[PyTorchJobs]] = {"trainjobs": TrainJobs, "pytorchjobs": PyTorchJobs}


def _jobs_status(**counts: int) -> dict[str, Any]:
    """TR:plugins/jobset/jobset.go:471-482: counts of child Jobs, not of pods."""
    return {"name": "node", "ready": 0, "succeeded": 0, "failed": 0, "active": 0, "suspended": 0, **counts}


def _is_true(status: Mapping[str, Any], name: str) -> bool:
    return any(each["type"] == name and each["status"] == "True" for each in status.get("conditions", []))


def _set(status: dict[str, Any], name: str, value: str, reason: str, message: str) -> None:
    others = [each for each in status.get("conditions", []) if each["type"] != name]
    status["conditions"] = [*others, {"type": name, "status": value, "reason": reason, "message": message}]
