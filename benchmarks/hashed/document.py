"""What all tables found, as JSON and for people: means over seeds, with 95 % intervals over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.hashed.job import ASKED, FULL, ROWS_OF, HashedJob
from benchmarks.kept_run import KeptRun
from benchmarks.seeds import estimates, mean_of
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.rendering.cells import difference_cell, mean_cell
from pagoda.evaluation.report import Estimate


def document(found: Mapping[HashedJob, KeptRun]) -> list[dict[str, Any]]:
    """A row for each set and table: Recall@50 by group of users, and what it gains over the full table, by user."""
    names = dict.fromkeys((job.set_name, job.table) for job in found)
    runs = {name: [run for job, run in found.items() if (job.set_name, job.table) == name] for name in names}
    return [_row(name, runs[name], runs[name[0], FULL]) for name in names]


def _row(name: tuple[str, str], runs: Sequence[KeptRun], full: Sequence[KeptRun]) -> dict[str, Any]:
    own, base = (mean_of([run.asked[ASKED] for run in each]) for each in (runs, full))
    there = [group for group in ROWS_OF if np.isfinite(own.values[group]).any()]
    gained = resample(np.stack([own.values[group] - base.values[group] for group in there], axis=1), own.users)
    gains = {
        group: Estimate(value=float(gained.means[place]), low=low, high=high)
        for place, group in enumerate(there)
        for low, high in [interval(gained.samples[:, place])]
    }
    kept = type(own)(own.users, {group: own.values[group] for group in there})
    return {
        "set": name[0],
        "table": name[1],
        "seeds": len(runs),
        "rows": runs[0].facts["rows"],
        "users": runs[0].facts["users"],
        "recall@50": {group: one.model_dump() for group, one in estimates(kept).items()},
        "gain": {group: one.model_dump() for group, one in gains.items()},
    }


def tables(made: Sequence[Mapping[str, Any]]) -> list[Table]:
    """A table for each set."""
    return [_table(of, [row for row in made if row["set"] == of]) for of in dict.fromkeys(row["set"] for row in made)]


def _table(of: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    groups = list(rows[0]["recall@50"])
    title = f"{of}: Recall@50, and what that is over the full table of {rows[0]['users']:,} rows"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    shown.add_column("rows of users", no_wrap=True)
    for group in groups:
        shown.add_column(group, justify="right", no_wrap=True)
    for row in rows:
        cells = (_cell(row, group) for group in groups)
        shown.add_row(row["table"], *cells)
    return shown


def _cell(row: Mapping[str, Any], group: str) -> str:
    found, gain = (Estimate.model_validate(row[part][group]) for part in ("recall@50", "gain"))
    return mean_cell(found) if row["table"] == FULL else f"{mean_cell(found)} {difference_cell(gain)}"
