"""What shared rows of users cost in quality: `python -m benchmarks.hashed`, beside full tables and cut ones.

MovieLens-100K and a simulated world, with histories and without; each table of fewer rows has the same
memory in three ways. A row that is finished is kept under a key of all that it follows from, code included.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from rich.console import Console

from benchmarks.hashed.document import document, tables
from benchmarks.hashed.job import SETS, TABLES, HashedJob, code_of_rows, one, prepare_sets
from benchmarks.kept_run import KeptRun, read_run
from pagoda.processes.dealing import worker_pool
from pagoda.storage.atomic import write_atomic

_WIDTH = 120
_SEEDS = (0, 1)


def main() -> None:
    """Learn and ask everything, write the document and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=_SEEDS)
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/hashed.json"))
    arguments = parser.parse_args()
    folder = arguments.out.with_suffix("") / code_of_rows()
    prepare_sets(arguments.sets, folder)
    jobs = [HashedJob(of, folder, table, seed) for seed in arguments.seeds for of in arguments.sets for table in TABLES]
    found = {job: kept for job in jobs if (kept := read_run(job.kept_at))}
    found |= run([job for job in jobs if job not in found], arguments.workers)
    made = document(found)
    write_atomic(arguments.out, json.dumps(made, indent=1).encode())
    # Written to a file, tables are as wide as they are.
    console = Console(width=max(Console().width, _WIDTH), highlight=False)
    console.print(*tables(made), f"Written to {arguments.out}.", sep="\n")


def run(jobs: Sequence[HashedJob], workers: int) -> Iterator[tuple[HashedJob, KeptRun]]:
    """Learn in processes of one thread each."""
    console = Console(stderr=True, highlight=False)
    with worker_pool(workers) as pool:
        for done, future in enumerate(as_completed(futures := {pool.submit(one, job): job for job in jobs}), 1):
            job = futures[future]
            console.print(f"{done} of {len(jobs)}: {job.set_name}, {job.table}, seed {job.seed}")
            yield job, future.result()


if __name__ == "__main__":
    main()
