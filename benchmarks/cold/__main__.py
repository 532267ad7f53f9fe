"""What new items and users are known by, and its worth: `python -m benchmarks.cold`, worlds where they arrive.

Trainings that differ in one thing learn all but the last day of a world. Of that day it is asked what the log says
(Recall@50 of items younger than a day, and of others), and each version answers it itself: what it shows decides what
is clicked. `python -m benchmarks.channels` reports the ratios of the same runs.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from rich.console import Console

from benchmarks.cold.document import cold_ratios, cold_rows, cold_rows_table
from benchmarks.cold.running import SEEDS, VALIDATION_SEEDS, cold_runs
from pagoda.storage.atomic import write_atomic

_WIDTH = 160


def main() -> None:
    """Train every row in every world, write the document and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--validation", action="store_true", help="the worlds by which the rule was chosen")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once")
    parser.add_argument("--out", type=Path, default=Path("build/bench/cold.json"))
    arguments = parser.parse_args()
    runs = cold_runs(VALIDATION_SEEDS if arguments.validation else SEEDS, arguments.workers)
    write_atomic(arguments.out, json.dumps(cold_rows(runs), indent=1).encode())
    Console(width=_WIDTH, highlight=False).print(
        cold_ratios(runs), "", cold_rows_table(runs), f"Written to {arguments.out}.", sep="\n"
    )


if __name__ == "__main__":
    main()
