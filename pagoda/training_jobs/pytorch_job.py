"""The training operator's PyTorchJob, for installations before Kubeflow Trainer: kubeflow/training-operator v1.9.0.

- What is created: pkg/apis/kubeflow.org/v1/pytorch_types.go and common_types.go. With a Master the operator gives each
  container, which must be called `pytorch`, PET_NNODES, PET_NODE_RANK and the master's address, as torchrun reads them
  (pkg/controller.v1/pytorch/envvar.go:45-125, master.go). Its models are no package of their own, so it is plain.
- What is read: conditions Created, Running, Restarting, Succeeded, Failed, Suspended; Failed is final, and both of
  the ends make Running false (pkg/util/status.go:120-180). Done is when the Master is, whose process of rank 0 is the
  last to end (pkg/controller.v1/pytorch/pytorchjob_controller.go:385-410).
"""

from __future__ import annotations

from typing import Any

from pagoda.training_jobs.job import JobDraft, JobKind, JobState, JobStatus, Object, conditions_of
from pagoda.training_jobs.train_job import pod_spec

_GROUP_VERSION = "kubeflow.org/v1"
_CONTAINER = "pytorch"
_TRIES = 6
"""Restarts of pods, as many as a TrainJob's Jobs allow by Kubernetes' default."""


def _body(draft: JobDraft) -> dict[str, Any]:
    replicas = {"Master": 1, **({"Worker": draft.pods - 1} if draft.pods > 1 else {})}
    return {
        "apiVersion": _GROUP_VERSION,
        "kind": "PyTorchJob",
        "metadata": draft.metadata,
        "spec": {
            "nprocPerNode": str(draft.per_pod),
            "runPolicy": {"backoffLimit": _TRIES, "cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": {
                role: {"replicas": count, "restartPolicy": "OnFailure", "template": _template(draft)}
                for role, count in replicas.items()
            },
        },
    }


def _template(draft: JobDraft) -> dict[str, Any]:
    spec = pod_spec(draft, _CONTAINER)
    (container,) = spec["containers"]
    runs = {
        "image": draft.step.image,
        "command": list(draft.command),
        "env": draft.env,
        "resources": draft.needs.resources,
    }
    return {"metadata": {"labels": draft.pod_labels}, "spec": spec | {"containers": [container | runs]}}


def _observe(found: Object) -> JobStatus:
    true = conditions_of(found)
    for name, state in (
        ("Failed", JobState.FAILED),
        ("Succeeded", JobState.COMPLETE),
        ("Suspended", JobState.WAITING),
        ("Running", JobState.RUNNING),
    ):
        if name in true:
            return JobStatus(state, true[name])
    return JobStatus(JobState.STARTING, true.get("Restarting", ""))


PYTORCH_JOB = JobKind("PyTorchJob", _GROUP_VERSION, "pytorchjobs", _body, _observe)
