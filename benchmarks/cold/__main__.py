"""What stands for new items, and what it is worth: `python -m benchmarks.cold`, a simulated world where items arrive.

Recall@50 of the last day's positives on items younger than a day, and on all others, by trainings of the days before
that differ in nothing else. Means over seeds; gains are paired by user, with 95 % intervals over users.
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

from benchmarks.cold.job import ASKED, ROWS, SEEDS, WORLD, train_and_ask, without_later_items
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
    Console(width=100).print(table(made), f"Written to {arguments.out}.", sep="\n", highlight=False)


def trainings(workers: int) -> dict[str, list[KeptRun]]:
    """What each row found, with every seed."""
    found: defaultdict[str, dict[int, KeptRun]] = defaultdict(dict)
    with tempfile.TemporaryDirectory(prefix="pagoda-cold-") as folder, worker_pool(workers) as pool:
        data, known = Path(folder) / "data", Path(folder) / "known"
        simulate(WORLD, data)
        without_later_items(data, known)
        asked = [(name, seed) for seed in range(SEEDS) for name in ROWS]
        for future in [pool.submit(train_and_ask, *each, data, known, Path(folder)) for each in asked]:
            name, seed, run = future.result()
            found[name][seed] = run
    return {name: list(runs.values()) for name, runs in found.items()}


def document(found: dict[str, list[KeptRun]]) -> list[dict[str, Any]]:
    """The rows as JSON."""
    means = {name: mean_of([run.asked[ASKED] for run in runs]) for name, runs in found.items()}
    base = means[next(iter(ROWS))]
    return [
        {
            "items": name,
            "young": found[name][0].facts["young"],
            "recall@50": {group: one.model_dump() for group, one in estimates(mean).items()},
            "gain": {group: one.model_dump() for group, one in differences(mean, base).items()},
        }
        for name, mean in means.items()
    ]


def table(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    made = Table(title=f"Recall@50, {rows[0]['young']:,} positives on items younger than a day", box=None)
    for name in ("items without a row have", *rows[0]["gain"]):
        made.add_column(name, justify="right" if made.columns else "left")
    for row in rows:
        cells = [
            f"{row['recall@50'][group]['value']:.3f} ({gain['value']:+.3f}, {gain['low']:+.3f} to {gain['high']:+.3f})"
            for group, gain in row["gain"].items()
        ]
        made.add_row(row["items"], *cells)
    return made


if __name__ == "__main__":
    main()
