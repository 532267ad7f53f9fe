"""What updates are worth, on worlds of every drift and on MovieLens-100K: `python -m benchmarks.replay`.

The settings were fixed before the first result, see `settings.py`. A replay that is finished is kept beside its plot,
under a key of all that it follows from, code included; so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.replay.document import draw_sweep, entry, sweep_tables
from benchmarks.replay.job import HISTORY, Job, one
from benchmarks.replay.settings import DRIFTS, FINAL_SEED, FURTHER_SEEDS, TUNING_SEEDS
from pagoda.processes.dealing import worker_pool
from pagoda.replay.rendering import plot
from pagoda.replay.report import ReplayReport
from pagoda.simulation import Drift
from pagoda.storage.atomic import write_atomic

MOVIELENS = "movielens-100k"


def main() -> None:
    """Replay everything and write the document and the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", help=f"of all worlds; to tune: {TUNING_SEEDS}")
    parser.add_argument("--drifts", type=Drift, nargs="*", default=DRIFTS)
    parser.add_argument("--history", choices=("with", "without", "both"), default="both")
    parser.add_argument("--movielens", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--window-days", type=int, default=1, help="that a full update learns")
    parser.add_argument("--config", type=Path, help="training configuration (YAML), default: the defaults")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="replays at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/replay.json"))
    arguments = parser.parse_args()
    histories = {"with": (True,), "without": (False,), "both": (False, True)}[arguments.history]
    jobs = [
        Job(drift, history, seed, arguments.config, arguments.window_days)
        for drift in (*arguments.drifts, *([None] if arguments.movielens else []))
        for history in histories
        for seed in arguments.seeds or seeds_of(drift, history=history)
    ]
    plots = arguments.out.with_suffix("")
    found = {job: report for job in jobs if (report := read_kept(plots, job))}
    for job, report in run([job for job in jobs if job not in found], arguments.workers):
        plot(report, plots / f"{job.name}.png")
        write_atomic(kept_file(plots, job), report.model_dump_json(indent=1).encode())
        found[job] = report
    document = assemble({job: found[job] for job in jobs})
    arguments.out.write_text(json.dumps(document, indent=1))
    draw_sweep(document["sweep"], plots / "sweep.png")
    Console().print(sweep_tables(document))


def seeds_of(drift: Drift | None, *, history: bool) -> tuple[int, ...]:
    """The seeds that the settings name."""
    return (FINAL_SEED,) if drift is None or history else (FINAL_SEED, *FURTHER_SEEDS)


def kept_file(plots: Path, job: Job) -> Path:
    """Where a finished replay is kept."""
    return plots / f"{job.name}-{job.key}.json"


def read_kept(plots: Path, job: Job) -> ReplayReport | None:
    """The report of a replay that was finished before; None when it was not, or anything it follows from is new."""
    file = kept_file(plots, job)
    return ReplayReport.model_validate_json(file.read_bytes()) if file.exists() else None


def run(jobs: list[Job], workers: int) -> Iterator[tuple[Job, ReplayReport]]:
    """Replay jobs in processes of one thread each; results come as they are ready."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar, worker_pool(workers) as pool:
        task = bar.add_task("replays", total=len(jobs))
        for future in as_completed([pool.submit(one, job) for job in jobs]):
            job, report = future.result()
            bar.advance(task)
            bar.console.print(f"{job.name}: {report.overall.rows:,} positives")
            yield job, report


def assemble(found: dict[Job, ReplayReport]) -> dict[str, Any]:
    """The document: `world` is default drift, it and `movielens-100k` without history; the sweep has both.

    Every entry has its own `paired`; beside `world` stands the world's once more.
    """
    worlds: defaultdict[tuple[Drift | None, bool], dict[int, ReplayReport]] = defaultdict(dict)
    for job, report in found.items():
        worlds[job.drift, job.history][job.seed] = report
    sweep: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for (drift, history), reports in worlds.items():
        sweep[drift.value if drift else MOVIELENS][HISTORY[history]] = entry(reports)
    movielens = sweep.pop(MOVIELENS, {})
    world = sweep.get(Drift.DEFAULT.value, {}).get(HISTORY[False], {})
    document = {
        "world": world,
        MOVIELENS: movielens.get(HISTORY[False]),
        f"{MOVIELENS} with history": movielens.get(HISTORY[True]),
        "paired": world.get("paired"),
    }
    return {**{name: value for name, value in document.items() if value}, "sweep": dict(sweep)}


if __name__ == "__main__":
    main()
