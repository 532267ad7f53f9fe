"""Results as the ablation's document and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.ablation.job import ASKED, METRICS, WORLD
from benchmarks.ablation.techniques import BASE, BASELINE, Technique
from benchmarks.kept_run import KeptRun
from pagoda.evaluation.bootstrap import interval, resample


def document(techniques: Sequence[Technique], found: Mapping[str, KeptRun]) -> dict[str, Any]:
    """Each row's metrics, and what it gains over the first row, paired by question, with 95 % intervals over users."""
    base = found[BASELINE]
    return {
        "data": {"world": WORLD.model_dump(mode="json"), "questions": len(base.asked[ASKED].users)},
        "budget": BASE,
        "rows": [_row(each, found[each.name], base) for each in techniques],
    }


def _row(technique: Technique, run: KeptRun, base: KeptRun) -> dict[str, Any]:
    asked, first = run.asked[ASKED], base.asked[ASKED]
    found = resample(np.concatenate([asked.matrix, asked.matrix - first.matrix], axis=1), asked.users)
    estimates = [
        {"value": float(found.means[place]), "low": low, "high": high}
        for place in range(2 * len(METRICS))
        for low, high in [interval(found.samples[:, place])]
    ]
    return {
        "group": technique.group,
        "name": technique.name,
        "change": technique.change,
        "features": [each.model_dump(mode="json") for each in technique.features],
        "penalty": technique.penalty,
        "cpu_seconds": run.facts["cpu_seconds"],
        "metrics": dict(zip(METRICS, estimates[: len(METRICS)], strict=True)),
        "gains": dict(zip(METRICS, estimates[len(METRICS) :], strict=True)),
    }


def table(made: Mapping[str, Any]) -> Table:
    """A line a row; what differs from the first row for sure is bold where it is better, dim where it is worse."""
    title = f"Ablation: {made['data']['questions']:,} questions; gains over the first row, ± half of the 95 % interval"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "", "recall@50", *(f"gain: {name.removeprefix('recall@50 ')}" for name in METRICS), "CPU s"):
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    group = ""
    for row in made["rows"]:
        heading, group = row["group"] if row["group"] != group else "", row["group"]
        gains = [""] * len(METRICS) if row["name"] == BASELINE else [_gain(row["gains"][name]) for name in METRICS]
        recall = f"{row['metrics']['recall@50']['value']:.4f}"
        shown.add_row(heading, row["name"], recall, *gains, f"{row['cpu_seconds']:.0f}")
    return shown


def _gain(estimate: Mapping[str, float]) -> str:
    text = f"{estimate['value']:+.4f} ±{(estimate['high'] - estimate['low']) / 2:.4f}"
    if estimate["low"] > 0:
        return f"[bold green]{text}[/]"
    return f"[red]{text}[/]" if estimate["high"] < 0 else f"[dim]{text}[/]"
