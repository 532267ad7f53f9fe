"""What several channels are worth beside the towers alone: `python -m benchmarks.channels [FILE …]`.

Each set is learned and asked once, by one rule for all. What new items and users are worth takes worlds where they
arrive, those of `python -m benchmarks.cold`. What is finished is kept under a key of all that it follows from, code
included; so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from rich.console import Console, RenderableType

from benchmarks.channels.document import document, tables
from benchmarks.channels.job import ChannelsJob, code_of_figures, one
from benchmarks.cold.document import cold_object, cold_ratios
from benchmarks.cold.running import SEEDS, VALIDATION_SEEDS, cold_runs
from benchmarks.leaderboard.sets import BenchmarkSet, sets_of
from pagoda.errors import PagodaError
from pagoda.evaluation.report import MixtureFigures
from pagoda.processes.dealing import worker_pool
from pagoda.storage.atomic import write_atomic

_WIDTH = 100


def main() -> None:
    """Learn and ask every set, write the document and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        help="interactions with times (.csv …), sequences (.txt), or default sets by name",
    )
    parser.add_argument("--validation", action="store_true", help="split what the test's split learns: to choose by")
    parser.add_argument("--sets-only", action="store_true", help="leave out new items and users")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/channels.json"))
    arguments = parser.parse_args()
    try:
        jobs = [_job(which, arguments.out, validation=arguments.validation) for which in sets_of(arguments.files)]
    except PagodaError as error:
        raise SystemExit(f"error: {error}") from None
    found = {job: MixtureFigures.model_validate_json(job.kept_at.read_bytes()) for job in jobs if job.kept_at.exists()}
    found |= run([job for job in jobs if job not in found], arguments.workers)
    by_name = {job.which.name: found[job] for job in jobs if job in found}
    made = document(by_name)
    shown: list[RenderableType] = [tables(by_name)]
    if not arguments.sets_only:
        cold = cold_runs(VALIDATION_SEEDS if arguments.validation else SEEDS, arguments.workers)
        made.append(cold_object(cold))
        shown += ["", cold_ratios(cold)]
    write_atomic(arguments.out, json.dumps(made, indent=1).encode())
    # Written to a file, tables are as wide as they are.
    Console(width=max(Console().width, _WIDTH), highlight=False).print(*shown, sep="\n")
    print(f"Written to {arguments.out}.")


def run(jobs: Sequence[ChannelsJob], workers: int) -> Iterator[tuple[ChannelsJob, MixtureFigures]]:
    """Learn in processes of one thread each; of a set that cannot be asked it is said why, and the others go on."""
    console = Console(stderr=True)
    with worker_pool(workers) as pool:
        for future in as_completed(futures := {pool.submit(one, job): job for job in jobs}):
            job = futures[future]
            try:
                found = future.result()
            except PagodaError as error:
                console.print(f"{job.which.name}: left out: {error}", markup=False)
                continue
            console.print(f"{job.which.name}: done", markup=False)
            yield job, found


def _job(which: BenchmarkSet, out: Path, *, validation: bool) -> ChannelsJob:
    key = f"{which.name}-{which.checksum.removeprefix('xxh3:')[:16]}-{code_of_figures()}"
    return ChannelsJob(which, out.with_suffix("") / key, validation)


if __name__ == "__main__":
    main()
