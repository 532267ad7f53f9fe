"""`python -m pagoda.training.distributed JOB MEETING`, or under torchrun without MEETING: what each process runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pagoda.errors import PagodaError
from pagoda.processes.together import end_with_input
from pagoda.training.distributed.job import SharedUpdate, tell_failure
from pagoda.training.distributed.progress import told_progress
from pagoda.training.distributed.ranks import joined_ranks
from pagoda.training.distributed.worker import work


def main(file: Path, meeting: Path | None = None) -> None:
    """Do the share of this process, which finds its number in its environment.

    Args:
        file: What is learned.
        meeting: As for `joined_ranks`; the processes of one machine end with who started them.
    """
    if meeting:
        end_with_input()
    job, rank = SharedUpdate.read(file), int(os.environ["RANK"])
    try:
        with joined_ranks(job.settings().device, meeting) as ranks:
            work(job, job.whom_to_forget(file), ranks, told_progress(rank))
    except PagodaError as error:
        tell_failure(file, rank, error)
        raise SystemExit(f"process {rank}: {error}") from error


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
