"""Towers beside plain baselines, with no room for luck: `python -m benchmarks.leaderboard [FILE …]`.

Leave-one-out and a time split, several seeds, intervals over users and over seeds. A row that is finished is kept
under a key of all that it follows from, code included; so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.kept_run import KeptRun, read_run
from benchmarks.leaderboard.baselines import BASELINES
from benchmarks.leaderboard.document import document
from benchmarks.leaderboard.job import RowJob, code_of_rows, one
from benchmarks.leaderboard.models import DEFAULT_TOWER, is_random, models_of
from benchmarks.leaderboard.sets import BenchmarkSet, sets_of
from benchmarks.leaderboard.splits import open_splits
from benchmarks.leaderboard.tables import tables
from benchmarks.quality.settings import TOWERS
from pagoda.errors import PagodaError
from pagoda.processes.dealing import worker_pool
from pagoda.storage.atomic import write_atomic

_WIDTH = 100
_SEEDS = (0, 1, 2, 3, 4)


def main() -> None:
    """Learn and ask everything, write the document and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        help="sequences (.txt), interactions with times (.csv …), or default sets by name",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=_SEEDS)
    parser.add_argument("--only", nargs="*", choices=(*BASELINES, *TOWERS, DEFAULT_TOWER), help="these models")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="rows at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/leaderboard.json"))
    arguments = parser.parse_args()
    try:
        chosen = sets_of(arguments.files)
        jobs = [job for each in chosen for job in jobs_of(each, arguments.out.with_suffix(""), arguments.seeds)]
        jobs = [job for job in jobs if not arguments.only or job.model in arguments.only]
        found = {job: kept for job in jobs if (kept := read_run(job.kept_at))}
        found |= run([job for job in jobs if job not in found], arguments.workers)
    except PagodaError as error:
        raise SystemExit(f"error: {error}") from None
    in_order = {job: found[job] for job in jobs if job in found}
    write_atomic(arguments.out, json.dumps(document(in_order), indent=1).encode())
    # Written to a file, tables are as wide as they are.
    console = Console(width=max(Console().width, _WIDTH), highlight=False)
    console.print(tables(in_order, [each.name for each in chosen if each.sequences]))
    console.print(f"Written to {arguments.out}.")


def jobs_of(which: BenchmarkSet, folder: Path, seeds: Sequence[int]) -> list[RowJob]:
    """The rows of a set; what no seed changes has the first one alone.

    Raises:
        DataError: The set cannot be read.
    """
    of_set = folder / f"{which.name}-{which.checksum.removeprefix('xxh3:')[:16]}-{code_of_rows()}"
    return [
        RowJob(which.name, of_set, split, model, seed)
        for split in open_splits(which, of_set)
        for model in models_of(which)
        for seed in (seeds if is_random(model) else seeds[:1])
    ]


def run(jobs: list[RowJob], workers: int) -> Iterator[tuple[RowJob, KeptRun]]:
    """Learn in processes of one thread each; what a model cannot do is said, and the others go on."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar, worker_pool(workers) as pool:
        task = bar.add_task("rows", total=len(jobs))
        for future in as_completed(futures := {pool.submit(one, job): job for job in jobs}):
            job = futures[future]
            told = f"{job.set_name}, {job.split.name}, {job.model}, seed {job.seed}"
            bar.advance(task)
            try:
                found = future.result()
            except PagodaError as error:
                bar.console.print(f"{told}: left out: {error}", markup=False)
                continue
            bar.console.print(f"{told}: {found[1].facts['cpu_seconds']:,.0f} s of a processor")
            yield found


if __name__ == "__main__":
    main()
