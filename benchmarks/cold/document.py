"""What all rows found, as JSON and as tables: means over worlds, with 95 % intervals over these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.cold.job import (
    ASKED,
    CLICKS,
    DAY,
    EXPLORED,
    INTERESTS,
    KNOWN_FROM,
    KNOWN_ITEMS,
    NEW_ITEMS,
    NOTHING,
    SESSIONS,
    TAGS,
)
from benchmarks.kept_run import KeptRun, UserValues
from benchmarks.seeds import over_seeds, ratio_over_seeds
from pagoda.evaluation.rendering.cells import difference_cell, mean_cell
from pagoda.evaluation.report import Estimate

Runs = Mapping[str, Sequence[KeptRun]]
_KNOWN, _SESSION, _DAY = f"new items with {KNOWN_FROM} clicks", "clicks of a first session", "clicks of an answer"
_YOUNG = "recall@50 of young items"
_RATIOS = {
    f"new_items_with_{KNOWN_FROM}_clicks": (_KNOWN, EXPLORED),
    "all_clicks": (_DAY, EXPLORED),
    "first_session_clicks": (_SESSION, INTERESTS),
    "recall@50_new_items": (_YOUNG, TAGS),
}
"""By name, what is measured, and the row that is compared with the first."""


def cold_object(runs: Runs) -> dict[str, Any]:
    """What the techniques bring, each as a ratio to the same without it; null where that is 0."""
    found: dict[str, Any] = {"set": "cold"}
    for name, (what, row) in _RATIOS.items():
        own, base = (_values(runs[one], what) for one in (row, NOTHING))
        ratio = ratio_over_seeds(own, base)
        for part, value in (("", ratio.value), ("_low", ratio.low), ("_high", ratio.high)):
            found[f"{name}_ratio{part}"] = value if math.isfinite(value) else None
        found |= {name: float(np.mean(own)), f"{name}_without": float(np.mean(base))}
    return found


def cold_rows(runs: Runs) -> list[dict[str, Any]]:
    """The rows as JSON."""
    return [
        {
            "known": name,
            "found": {what: one.model_dump() for what, one in _found(runs, name).items()},
            "gain": {what: one.model_dump() for what, one in _gains(runs, name).items()},
        }
        for name in runs
    ]


def cold_ratios(runs: Runs) -> Table:
    """The same for people."""
    worlds = len(runs[NOTHING])
    ratios = _table(f"new items and users, {worlds} worlds", ("with", "without", "ratio", "95 % interval over worlds"))
    for name, (what, row) in _RATIOS.items():
        own, base = (_values(runs[one], what) for one in (row, NOTHING))
        ratio = ratio_over_seeds(own, base)
        means = (f"{np.mean(one):.3f}" for one in (own, base))
        ratios.add_row(name, *means, f"{ratio.value:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}")
    return ratios


def cold_rows_table(runs: Runs) -> Table:
    """All rows for people: each measure, and what it gains over the first."""
    table = _table("what is known besides, and what that gains", tuple(_measures(runs[NOTHING][0])))
    for name in runs:
        gains = _gains(runs, name)
        cells = [f"{mean_cell(one)} {difference_cell(gains[what])}" for what, one in _found(runs, name).items()]
        table.add_row(name, *cells)
    return table


def _found(runs: Runs, name: str) -> dict[str, Estimate]:
    return {what: over_seeds(_values(runs[name], what)) for what in _measures(runs[name][0])}


def _gains(runs: Runs, name: str) -> dict[str, Estimate]:
    """Over the first row, paired by world."""
    own, base = runs[name], runs[NOTHING]
    return {what: over_seeds(_values(own, what) - _values(base, what)) for what in _measures(own[0])}


def _values(runs: Sequence[KeptRun], what: str) -> np.ndarray:
    return np.array([_measures(run)[what] for run in runs])


def _measures(run: KeptRun) -> dict[str, float]:
    """All that is reported of one training."""
    recalls = {f"recall@50 of {group}": float(np.nanmean(hits)) for group, hits in run.asked[ASKED].values.items()}
    return {
        **recalls,
        _SESSION: _clicks(run.asked[SESSIONS]) / len(np.unique(run.asked[SESSIONS].users)),
        _KNOWN: run.facts[KNOWN_ITEMS] / run.facts[NEW_ITEMS],
        _DAY: _clicks(run.asked[DAY]) / len(run.asked[DAY].users),
    }


def _clicks(found: UserValues) -> float:
    return float(found.values[CLICKS].sum())


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table
