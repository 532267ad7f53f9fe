"""Kubeflow Trainer's TrainJob, as kubeflow/trainer v2.3.0 takes and writes it; main of 2026-08-21 does the same.

- What is created: pkg/apis/trainer/v1alpha1/trainjob_types.go. `spec.trainer` goes into the container `node` of the
  runtime (pkg/runtime/framework/plugins/jobset/builder.go:110-165), all else of its pods by a patch, which must not
  hold that container's environment (jobset.go, Validate). torchrun reads PET_NNODES and the like, which are reserved
  (plugins/torch/torch.go:147-164).
- What is read: conditions Complete and Failed, copied from the JobSet's; Suspended, which is absent from a job that
  never was, and False once it was resumed; none for created or running, which `jobsStatus` tells, in child Jobs
  (pkg/controller/trainjob_controller.go:201-222, plugins/jobset/jobset.go:450-485).
"""

from __future__ import annotations

from typing import Any

from pagoda.training_jobs.job import JobDraft, JobKind, JobState, JobStatus, Object, conditions_of

_GROUP_VERSION = "trainer.kubeflow.org/v1alpha1"
_NODE = "node"
"""Of a runtime for PyTorch: its replicated job, and the container in it (pkg/constants/constants.go, Node)."""
_MANAGER = "pagoda.dev/pipeline"


def _body(draft: JobDraft) -> dict[str, Any]:
    from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob  # takes seconds

    trainer = {
        "image": draft.step.image,
        "command": list(draft.command),
        "env": draft.env,
        "numNodes": draft.pods,
        "numProcPerNode": draft.per_pod,
        "resourcesPerNode": draft.needs.resources,
    }
    job = TrainerV1alpha1TrainJob.from_dict(
        {
            "apiVersion": _GROUP_VERSION,
            "kind": "TrainJob",
            "metadata": draft.metadata,
            "spec": {
                "runtimeRef": {"name": draft.runtime},
                "trainer": trainer,
                "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": _patch(draft)}],
            },
        }
    )
    return dict(job.to_dict())


def _patch(draft: JobDraft) -> dict[str, Any]:
    """What `spec.trainer` has no place for."""
    pods = {"metadata": {"labels": draft.pod_labels}, "spec": pod_spec(draft, _NODE)}
    jobs = [{"name": _NODE, "template": {"spec": {"template": pods}}}]
    return {"template": {"spec": {"replicatedJobs": jobs}}}


def pod_spec(draft: JobDraft, container: str) -> dict[str, Any]:
    """A job's pods, but for what their container runs: restricted, and like the step's own."""
    step = draft.step
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec: dict[str, Any] = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": draft.volumes,
        "containers": [{"name": container, "volumeMounts": draft.mounts, "securityContext": confined}],
    }
    given = {
        "serviceAccountName": step.service_account,
        "imagePullSecrets": [dict(each) for each in step.pull_secrets],
        "nodeSelector": dict(draft.needs.node_selector),
        "tolerations": [dict(each) for each in step.tolerations],
    }
    return spec | {key: value for key, value in given.items() if value}


def _observe(found: Object) -> JobStatus:
    true = conditions_of(found)
    for name, state in (
        ("Failed", JobState.FAILED),
        ("Complete", JobState.COMPLETE),
        ("Suspended", JobState.WAITING),
    ):
        if name in true:
            return JobStatus(state, true[name])
    jobs = (found.get("status") or {}).get("jobsStatus") or []
    at_work = any(each.get("active") or each.get("ready") for each in jobs)
    return JobStatus(JobState.RUNNING if at_work else JobState.STARTING)


TRAIN_JOB = JobKind("TrainJob", _GROUP_VERSION, "trainjobs", _body, _observe)
