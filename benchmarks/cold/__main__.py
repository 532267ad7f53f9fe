"""What new items and users are known by, and its worth: `python -m benchmarks.cold`, a world where they arrive.

Recall@50 of the last day's positives, by trainings of the days before that differ in one thing: on items younger than a
day, on all others, and in the first half hour of new users; and the clicks that the world expects on the first five
items that new users get. Means over seeds; gains are paired by user, with 95 % intervals over users.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cold.job import ASKED, NEWCOMERS, ROWS, SEEDS, WORLD, train_and_ask
from benchmarks.kept_run import KeptRun
from benchmarks.seeds import differences, estimates, mean_of
from benchmarks.workers import worker_pool
from pagoda.simulation import simulate


def main() -> None:
    """Train every row with every seed, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/cold.json"))
    arguments = parser.parse_args()
    made = document(trainings(arguments.workers))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(made, indent=1))
    Console(width=160).print(table(made), f"Written to {arguments.out}.", sep="\n", highlight=False)


def trainings(workers: int) -> dict[str, list[KeptRun]]:
    """What each row found, with every seed."""
    found: defaultdict[str, list[KeptRun]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="pagoda-cold-") as folder, worker_pool(workers) as pool:
        data = Path(folder) / "data"
        simulate(WORLD, data)
        asked = [(name, seed) for seed in range(SEEDS) for name in ROWS]
        for future in [pool.submit(train_and_ask, *each, data, Path(folder)) for each in asked]:
            name, run = future.result()
            found[name].append(run)
    return found


def document(found: dict[str, list[KeptRun]]) -> list[dict[str, Any]]:
    """The rows as JSON."""
    rows: list[dict[str, Any]] = []
    for name, runs in found.items():
        row: dict[str, Any] = {"known": name, "positives": runs[0].facts, "found": {}, "gain": {}}
        for what in (ASKED, NEWCOMERS):
            mean, base = (mean_of([run.asked[what] for run in of]) for of in (runs, found[next(iter(ROWS))]))
            row["found"] |= {group: one.model_dump() for group, one in estimates(mean).items()}
            row["gain"] |= {group: one.model_dump() for group, one in differences(mean, base).items()}
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    made = Table(title="Recall@50 or clicks, gain, its interval", box=None)
    made.add_column("known besides")
    for group in rows[0]["gain"]:
        count = rows[0]["positives"].get(group)
        made.add_column(f"{group} ({count:,})" if count else group, justify="right")
    for row in rows:
        cells = [
            f"{row['found'][group]['value']:.3f} {gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
            for group, gain in row["gain"].items()
        ]
        made.add_row(row["known"], *cells)
    return made


if __name__ == "__main__":
    main()
