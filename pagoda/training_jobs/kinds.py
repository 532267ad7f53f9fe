"""The kinds of training job, and which of them a cluster has."""

from __future__ import annotations

from pagoda.cluster import Cluster
from pagoda.errors import ConfigError
from pagoda.training_jobs.job import JobKind
from pagoda.training_jobs.pytorch_job import PYTORCH_JOB
from pagoda.training_jobs.train_job import TRAIN_JOB

KINDS = {kind.name: kind for kind in (TRAIN_JOB, PYTORCH_JOB)}
"""The first that a cluster has is taken where none is named."""


def kind_in(cluster: Cluster, named: str) -> JobKind:
    """The kind that `training.jobs` names; `detected`: the first that the cluster has.

    Raises:
        ConfigError: The cluster does not have it.
        UnavailableError: Kubernetes does not answer.
    """
    wanted = list(KINDS.values()) if named == "detected" else [KINDS[named]]
    for kind in wanted:
        if cluster.serves(kind.group_version):
            return kind
    asked = " nor ".join(f"{kind.name} ({kind.group_version})" for kind in wanted)
    raise ConfigError(
        f"training.jobs {named}: the cluster has no {asked}. Install Kubeflow Trainer, name the other kind, or set "
        "nothing: then the training step's own pod runs all processes"
    )
