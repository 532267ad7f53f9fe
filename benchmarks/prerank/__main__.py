"""What a pre-ranker is worth, and costs: `python -m benchmarks.prerank`.

A version of a simulated world learns all but its last day, and is offered with a pre-ranker. GAUC is of what was shown
on that last day; the curve is what training measured on the way, by which it chose the groups of features; requests are
answered one after the other, with tower and search in this process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.prerank.cost import cost, program_bytes
from benchmarks.prerank.quality import gauc
from benchmarks.prerank.world import HOW, WORLD, Offered, offered
from pagoda.prerank.report import PrerankReport
from pagoda.version_files.full import PRERANK


def main() -> None:
    """Measure, write the JSON array and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("build/bench/prerank.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    # Beside the result rather than in /tmp, which may be memory.
    folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="prerank-"))
    try:
        made = offered(folder, WORLD, HOW, console.print)
        rows = measured(made, arguments.requests)
    finally:
        shutil.rmtree(folder)
    arguments.out.write_text(json.dumps(rows, indent=1))
    for table in as_tables(rows):
        Console().print(table)


def measured(made: Offered, requests: int) -> list[dict[str, Any]]:
    """GAUC after the window, the curve of groups, and what a request costs."""
    report = PrerankReport.model_validate_json((made.files.folder / PRERANK).read_bytes())
    if (model := made.manifest.prerank) is None:
        raise ValueError("the version has no pre-ranker")
    curve = [
        {"what": "groups", "count": len(point.groups), "chosen": set(point.groups) == set(report.groups)}
        | point.model_dump(mode="json")
        for point in report.curve
    ]
    about = {"candidates": model.candidates, "budget_ms": model.budget_ms, "groups": list(model.groups)}
    return [
        {"what": "gauc", "examples": report.examples, **about, **gauc(made, model)},
        *curve,
        {"what": "request", "candidates": model.candidates, **cost(made, requests), **program_bytes(made)},
    ]


def as_tables(rows: list[dict[str, Any]]) -> list[Table]:
    """The results for people."""
    first, *points, request = rows
    quality = Table(title="GAUC of what was shown on the day after", box=None, pad_edge=False)
    for column in ("impressions", "users", "pre-ranker", "cosine", "gain, 95 %"):
        quality.add_column(column, justify="right")
    gain = f"{first['gain']:+.4f} ({first['gain_low']:+.4f} to {first['gain_high']:+.4f})"
    counts = (f"{first['impressions']:,}", f"{first['users']:,}")
    quality.add_row(*counts, f"{first['gauc']:.4f}", f"{first['gauc_cosine']:.4f}", gain)
    curve = Table(title="Groups of features, by mean gate", box=None, pad_edge=False)
    for column in ("groups", "the last of them", "GAUC held back", "ms"):
        curve.add_column(column, justify="right")
    for point in points:
        mark = " ←" if point["chosen"] else "  "
        curve.add_row(
            str(point["count"]), point["groups"][-1], f"{point['gauc']:.4f}", f"{point['milliseconds']:.2f}{mark}"
        )
    times = Table(title=f"A request for {request['k']} items, ms", box=None, pad_edge=False)
    for column in ("", "p50", "p99"):
        times.add_column(column, justify="right")
    for name, title in (
        ("total_without", "cosine"),
        ("total_with", "pre-ranker"),
        ("prerank_with", "of that the stage"),
    ):
        times.add_row(title, f"{request[f'{name}_p50_ms']:.2f}", f"{request[f'{name}_p99_ms']:.2f}")
    return [quality, curve, times]


if __name__ == "__main__":
    main()
