"""All trainings of the benchmark; what is finished is kept, so one that was stopped goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

import serving.recall.channels.exploration
from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.cold.job import ROWS, ColdJob, train_and_ask
from benchmarks.kept_run import KeptRun, read_run
from pagoda.processes.dealing import worker_pool

SEEDS, VALIDATION_SEEDS = (1, 2, 3, 4, 5), (101, 102)
"""Of worlds and trainings: those that are reported, and those by which the rule was chosen."""
FOLDER = Path("build/bench/cold")


def cold_runs(seeds: Sequence[int], workers: int) -> Mapping[str, Sequence[KeptRun]]:
    """What each row found with every seed, in the order of `ROWS`."""
    folder = FOLDER / _code()
    jobs = [ColdJob(row, seed, folder / f"{place}-{seed}.npz") for seed in seeds for place, row in enumerate(ROWS)]
    found = {job: run for job in jobs if (run := read_run(job.kept_at)) is not None}
    with worker_pool(workers) as pool:
        futures = {pool.submit(train_and_ask, job): job for job in jobs if job not in found}
        found |= {futures[future]: future.result() for future in as_completed(futures)}
    return {row: [found[job] for job in jobs if job.row == row] for row in ROWS}


def _code() -> str:
    """Checksum of all the code that runs follow from."""
    own = [Path(__file__).with_name(f"{name}.py") for name in ("job", "day", "worlds")]
    return code_checksum((*LEARNING, "channels"), (*own, Path(serving.recall.channels.exploration.__file__)))
