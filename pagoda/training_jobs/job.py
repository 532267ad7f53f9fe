"""What is asked of a training job, whichever kind of it the cluster has, and what is read from one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pagoda.errors import ConfigError
from pagoda.training_jobs.step_pod import StepPod

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's, on a job: its webhook then makes the job suspended, and it admits it by `suspend: false` (kubernetes-sigs/
kueue ff69552, pkg/controller/jobs/trainjob/trainjob_webhook.go:68-104)."""
JOB_LABEL = "training.pagoda.dev/job"
"""On a job's pods, with its name: by which they find their logs, and network policies find them."""
CONTENT, KEY = "training.pagoda.dev/content", "training.pagoda.dev/update"
"""Annotations of a job: what it trains, as a checksum; and the key of its update, for people."""
WORK = "/work"
"""Where a job's pods have their home."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PodNeeds:
    """What each pod of a job gets, as Kubernetes writes quantities."""

    cpu: str
    memory: str
    accelerators: int = 0
    accelerator: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        """Requests, and for memory and GPUs the limits too, as a step's own pod has them."""
        gpus = {self.accelerator: str(self.accelerators)} if self.accelerators else {}
        bounded = {"memory": self.memory, **gpus}
        return {"requests": {"cpu": self.cpu, **bounded}, "limits": bounded}


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job that is wanted."""

    name: str
    """RFC 1035; the same for all runs of one update."""
    key: str
    content: str
    """Checksum of what it trains: a job of this name and another content is another training."""
    processes: int
    pods: int
    command: tuple[str, ...]
    needs: PodNeeds
    step: StepPod
    """The pod of the step that makes the job, which says what the job's pods are like."""
    queue: str = ""
    claim: str = ""
    runtime: str = ""

    def __post_init__(self) -> None:
        """Check that the processes fit the pods.

        Raises:
            ConfigError: They do not, or pods would share nothing.
        """
        if self.pods < 1 or self.processes % self.pods:
            raise ConfigError(
                f"train_pods {self.pods}: must divide distributed.processes, which is {self.processes}: each pod runs "
                "as many of them"
            )
        if self.pods > 1 and not self.claim:
            raise ConfigError(
                f"train_pods {self.pods}: several pods write one version, and share no volume; set training.claim "
                "(chart: pipelines.trainJob.claim) to a ReadWriteMany PersistentVolumeClaim, or have one pod run all "
                "processes"
            )
        if self.needs.accelerators not in (0, self.per_pod):
            raise ConfigError(
                f"train_accelerators {self.needs.accelerators}: each of the {self.per_pod} processes of a pod needs "
                "one, or none has one"
            )

    @property
    def per_pod(self) -> int:
        """Processes of each pod."""
        return self.processes // self.pods

    @property
    def metadata(self) -> dict[str, Any]:
        """Of the job."""
        labels = {**self.step.labels, **({QUEUE_LABEL: self.queue} if self.queue else {})}
        owners = {"ownerReferences": [dict(self.step.owner)]} if self.step.owner else {}
        return {"name": self.name, "labels": labels, "annotations": {CONTENT: self.content, KEY: self.key}, **owners}

    @property
    def pod_labels(self) -> dict[str, str]:
        """Of the job's pods."""
        return {**self.step.labels, JOB_LABEL: self.name}

    @property
    def env(self) -> list[dict[str, Any]]:
        """Of the job's containers: the step's settings and secrets, by reference."""
        return [*map(dict, self.step.env), {"name": "PAGODA_HOME", "value": WORK}]

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """The home, and the shared memory of processes, of which a container has 64 MiB unless it is given more."""
        home = {"persistentVolumeClaim": {"claimName": self.claim}} if self.claim else {"emptyDir": {}}
        return [{"name": "work", **home}, {"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]

    @property
    def mounts(self) -> list[dict[str, Any]]:
        """Where the volumes are."""
        return [{"name": "work", "mountPath": WORK}, {"name": "shared-memory", "mountPath": "/dev/shm"}]  # noqa: S108


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "waits in its queue"
    STARTING = "has no pod at work yet"
    RUNNING = "is at work"
    COMPLETE = "is complete"
    FAILED = "has failed"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a job's status says."""

    state: JobState
    why: str = ""
    """In the controller's words."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job that a cluster may know."""

    name: str
    group_version: str
    plural: str
    body: Callable[[JobDraft], dict[str, Any]]
    """The object that is created."""
    observe: Callable[[Object], JobStatus]
    """Reads an object as its controller left it."""


def conditions_of(found: Object) -> dict[str, str]:
    """The conditions that are true, each with its reason and message."""
    conditions = (found.get("status") or {}).get("conditions") or []
    return {
        each["type"]: f"{each.get('reason', '')}: {each.get('message', '')}".strip(": ")
        for each in conditions
        if each["status"] == "True"
    }
