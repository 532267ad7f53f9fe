"""`torchrun … -m pagoda.training.distributed JOB`: what each process runs, on one machine or on a cluster's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pagoda.errors import PagodaError
from pagoda.training.distributed.job import SharedUpdate, tell_failure
from pagoda.training.distributed.progress import told_progress
from pagoda.training.distributed.ranks import joined_ranks
from pagoda.training.distributed.worker import work
from pagoda.training.torchrun import meeting_of


def main(file: Path) -> None:
    """Do the share of this process, which finds its number in its environment."""
    job, rank = SharedUpdate.read(file), int(os.environ["RANK"])
    try:
        with joined_ranks(job.settings().device, meeting_of(file)) as ranks:
            work(job, job.whom_to_forget(file), ranks, told_progress(rank))
    except PagodaError as error:
        tell_failure(file, rank, error)
        raise SystemExit(f"process {rank}: {error}") from error


if __name__ == "__main__":
    main(Path(sys.argv[1]))
