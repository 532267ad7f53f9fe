"""How processes that learn together are started: by torchrun, on this machine or as a pod's part of a cluster's job.

All that is known of the engine's command line is here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ENGINE = "pagoda.training.distributed"
"""The module that each process runs; its one argument is the file that says what is learned."""
_IN_A_JOB, _POD = "PET_NNODES", "PET_NODE_RANK"
"""A job's controller sets both, and PET_NPROC_PER_NODE and PET_MASTER_ADDR, which torchrun reads by itself (kubeflow/
trainer v2.3.0, pkg/constants/constants.go and pkg/runtime/framework/plugins/torch/torch.go:147-164; kubeflow/
training-operator v1.9.0, pkg/controller.v1/pytorch/envvar.go:45-125)."""
_AGENT, _RANKS = "agent", "ranks"
"""Where torchrun of one machine keeps what it knows, and where its processes meet."""
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


def meeting_of(file: Path) -> Path | None:
    """The file in which the processes of one machine find each other; None: they do at the address they were told.

    By `--standalone`, torchrun keeps what it knows of its processes, pickled, in a store that listens on all addresses
    and asks nobody who they are (torch 2.13.0, distributed/elastic/rendezvous/dynamic_rendezvous.py:422-444, and `ss`):
    whoever reaches the port runs code as this user. Files beside what is learned are its user's alone.
    """
    return file.with_name(_RANKS) if file.with_name(_AGENT).exists() else None


def torchrun(processes: int, file: Path) -> list[str]:
    """The command that starts this machine's processes, or this pod's.

    Args:
        processes: How many there are on one machine; in a job, its controller says how many a pod has.
        file: What is learned.
    """
    here = [
        "--rdzv_backend=c10d",
        "--rdzv_conf=store_type=file",
        f"--rdzv_endpoint={file.with_name(_AGENT)}",
        f"--nproc_per_node={processes}",
    ]
    where = [f"--rdzv_conf=timeout={_WAIT_SECONDS}"] if is_in_a_job() else here
    return [sys.executable, "-m", "torch.distributed.run", *where, "-m", _ENGINE, str(file)]
