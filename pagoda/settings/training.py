"""Where a pipeline's training step has several processes learn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pagoda.settings.section import SettingsSection


class TrainingSettings(SettingsSection):
    """How a training file's `distributed.processes` above 1 comes to its processes; one process is the step's own."""

    jobs: Literal["", "detected", "TrainJob", "PyTorchJob"] = ""
    """By a job of Kubeflow Trainer (`TrainJob`), of the training operator before it (`PyTorchJob`), or of the one that
    the cluster has (`detected`). Empty: the processes run in the step's own pod, or on this machine."""
    runtime: Annotated[str, Field(min_length=1)] = "torch-distributed"
    """ClusterTrainingRuntime of a TrainJob; its trainer's container must be called `node`."""
    queue: str = ""
    """Kueue's LocalQueue in which the job waits. Empty: in none."""
    claim: str = ""
    """PersistentVolumeClaim that the job's pods work in: needed where there are several, which must share it
    (ReadWriteMany). With one, it keeps the checkpoints of a pod that was lost. Empty: each pod's own disk."""
