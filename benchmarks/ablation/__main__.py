"""What each technique is worth: `python -m benchmarks.ablation`, the same data and budget with one thing changed a row.

A simulated world, since only there is all that the techniques need: features, histories, what ranking rejected.
Figures of real data are in `make bench-quality`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.ablation.document import document, table
from benchmarks.ablation.job import WORLD, code_of_rows, one
from benchmarks.ablation.techniques import BASELINE, TECHNIQUES, Technique, named
from benchmarks.kept_run import KeptRun, read_run
from pagoda.processes.dealing import worker_pool
from pagoda.simulation import simulate

_NARROWEST = 140


def main() -> None:
    """Train every row and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of rows; the first row is always among them")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="rows trained at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/ablation.json"))
    arguments = parser.parse_args()
    try:
        chosen = named(arguments.only) if arguments.only else list(TECHNIQUES)
    except ValueError as error:
        parser.error(str(error))
    found = rows(chosen, arguments.out.with_suffix("") / code_of_rows(), arguments.workers)
    made = document(chosen, found)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(made, indent=1))
    # Written to a file, a table is as wide as it is.
    width = max(Console().width, _NARROWEST)
    Console(width=width).print(table(made), f"Written to {arguments.out}.", sep="\n", highlight=False)


def rows(techniques: list[Technique], kept: Path, workers: int) -> dict[str, KeptRun]:
    """The rows by name: those that are in `kept` already, and the others, which are trained and kept there."""
    places = {each.name: kept / f"{each.name}.npz" for each in techniques}
    found = {name: row for name, place in places.items() if (row := read_run(place))}
    left = [each for each in techniques if each.name not in found]
    if any(each.follows for each in left):
        # The version of the first row is not kept.
        left = [each for each in techniques if each in left or each.name == BASELINE]
    with tempfile.TemporaryDirectory(prefix="pagoda-ablation-") as folder:
        if left:
            simulate(WORLD, Path(folder) / "data")
        for name, row in run(left, Path(folder) / "data", Path(folder), workers):
            row.write(places[name])
            found[name] = row
    return found


def run(techniques: list[Technique], data: Path, folder: Path, workers: int) -> Iterator[tuple[str, KeptRun]]:
    """Train rows in processes of one thread each; those that need its version wait for the first."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar, worker_pool(workers) as pool:
        task = bar.add_task("rows", total=len(techniques))
        later = [each for each in techniques if each.follows]
        running: set[Future[tuple[str, KeptRun]]] = {
            pool.submit(one, each, data, folder) for each in techniques if not each.follows
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name, result = future.result()
                bar.advance(task)
                bar.console.print(f"{name}: {result.facts['cpu_seconds']:.0f} s of a processor")
                if name == BASELINE:
                    running |= {pool.submit(one, each, data, folder) for each in later}
                yield name, result


if __name__ == "__main__":
    main()
