"""What a pre-ranker is worth, and costs: `python -m benchmarks.prerank`.

A first version of a simulated world learns all but its last two days, a second one the next, and both are offered with
a pre-ranker. GAUC is of what was shown on the day after each; the curve is what training the second one measured on the
way, by which it chose the groups of features; requests are answered by that, one after the other, with tower and search
in this process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.prerank.cost import cost, program_bytes
from benchmarks.prerank.quality import gauc
from benchmarks.prerank.world import HOW, WORLD, Offered, offered
from pagoda.generations.manifest import Prerank
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


def measured(made: Sequence[Offered], requests: int) -> list[dict[str, Any]]:
    """GAUC after each one's window; of the last the curve of groups, and what a request costs."""
    last = made[-1]
    report = _report(last)
    curve = [
        {"what": "groups", "count": len(point.groups), "chosen": set(point.groups) == set(report.groups)}
        | point.model_dump(mode="json")
        for point in report.curve
    ]
    request = {"what": "request", "candidates": _model(last).candidates}
    return [*map(_quality, made), *curve, request | cost(last, requests) | program_bytes(last)]


def _quality(made: Offered) -> dict[str, Any]:
    report, model = _report(made), _model(made)
    about = {"version": made.manifest.full_version, "examples": report.examples, "groups": list(model.groups)}
    return {"what": "gauc", **about, "budget_ms": model.budget_ms, **gauc(made, model)}


def _model(made: Offered) -> Prerank:
    if (model := made.manifest.prerank) is None:
        raise ValueError("the version has no pre-ranker")
    return model


def _report(made: Offered) -> PrerankReport:
    return PrerankReport.model_validate_json((made.files.folder / PRERANK).read_bytes())


def as_tables(rows: list[dict[str, Any]]) -> list[Table]:
    """The results for people."""
    versions, points = ([row for row in rows if row["what"] == what] for what in ("gauc", "groups"))
    return [_as_quality(versions), _as_curve(points), _as_times(rows[-1])]


def _as_quality(versions: list[dict[str, Any]]) -> Table:
    quality = Table(title="GAUC of what was shown on the day after", box=None, pad_edge=False)
    for column in ("version", "learned from", "impressions", "users", "pre-ranker", "cosine", "gain, 95 %"):
        quality.add_column(column, justify="right")
    for row in versions:
        gain = f"{row['gain']:+.4f} ({row['gain_low']:+.4f} to {row['gain_high']:+.4f})"
        counts = (str(row["version"]), *(f"{row[name]:,}" for name in ("examples", "impressions", "users")))
        quality.add_row(*counts, f"{row['gauc']:.4f}", f"{row['gauc_cosine']:.4f}", gain)
    return quality


def _as_curve(points: list[dict[str, Any]]) -> Table:
    curve = Table(title="Groups of features, by mean gate", box=None, pad_edge=False)
    for column in ("groups", "the last of them", "GAUC held back", "ms"):
        curve.add_column(column, justify="right")
    for point in points:
        mark = " ←" if point["chosen"] else "  "
        curve.add_row(
            str(point["count"]), point["groups"][-1], f"{point['gauc']:.4f}", f"{point['milliseconds']:.2f}{mark}"
        )
    return curve


def _as_times(request: dict[str, Any]) -> Table:
    times = Table(title=f"A request for {request['k']} items, ms", box=None, pad_edge=False)
    for column in ("", "p50", "p99"):
        times.add_column(column, justify="right")
    for name, title in (
        ("total_without", "cosine"),
        ("total_with", "pre-ranker"),
        ("prerank_with", "of that the stage"),
    ):
        times.add_row(title, f"{request[f'{name}_p50_ms']:.2f}", f"{request[f'{name}_p99_ms']:.2f}")
    return times


if __name__ == "__main__":
    main()
