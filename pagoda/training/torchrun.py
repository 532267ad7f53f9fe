"""How a pod of a cluster's job starts its processes that learn together: by torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ENGINE = "pagoda.training.distributed"
"""The module that each process runs, here as on one machine; its first argument is the file of what is learned."""
_IN_A_JOB, _POD = "PET_NNODES", "PET_NODE_RANK"
"""A job's controller sets both, and PET_NPROC_PER_NODE and PET_MASTER_ADDR, which torchrun reads by itself (kubeflow/
trainer v2.3.0, pkg/constants/constants.go and pkg/runtime/framework/plugins/torch/torch.go:147-164; kubeflow/
training-operator v1.9.0, pkg/controller.v1/pytorch/envvar.go:45-125)."""
_WAIT_SECONDS = 7200
"""How long pods wait for the first one, which brings parent and data before it starts; by itself torchrun waits ten
minutes (torch 2.13.0, distributed/elastic/rendezvous/static_tcp_rendezvous.py:28, 121)."""


def is_in_a_job() -> bool:
    """Whether a cluster's job has started this, perhaps in one of several pods."""
    return _IN_A_JOB in os.environ


def is_first_pod() -> bool:
    """Whether rank 0 runs here; on one machine it does."""
    return os.environ.get(_POD, "0") == "0"


def told_in(out: Path) -> Path:
    """The file that tells all pods of a job what is learned: at a place that each of them knows beforehand.

    Args:
        out: Folder of the version that they write.
    """
    return out.with_name(f".job-{out.name}") / "job.json"


def torchrun(file: Path) -> list[str]:
    """The command that starts this pod's processes; how many, and where all meet, it reads from the environment.

    Args:
        file: What is learned.
    """
    where = f"--rdzv_conf=timeout={_WAIT_SECONDS}"
    return [sys.executable, "-m", "torch.distributed.run", where, "-m", ENGINE, str(file)]
