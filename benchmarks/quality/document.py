"""The seeds of a tower on a file as an entry of the document, and as a column of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.kept_run import KeptRun
from benchmarks.seeds import estimates, mean_of

SHOWN = ("hr@10", "ndcg@10", "recall@20", "ndcg@20")


def entry(runs: Mapping[int, KeptRun]) -> dict[str, Any]:
    """Flat: `hr@10`, the mean over seeds, `hr@10_seeds`, the value of each, `hr@10_low` and `hr@10_high`, the 95 %
    interval of the mean over users, and with several seeds `hr@10_stderr`, its standard error over seeds.

    The validation's are below `validation`, unless nothing else was asked. Seconds are of one seed on average.

    Args:
        runs: By seed.
    """
    seeds = sorted(runs)
    found = {what: _figures([runs[seed] for seed in seeds], what) for what in runs[seeds[0]].asked}
    facts = [runs[seed].facts for seed in seeds]
    return {
        "seeds": seeds,
        **found.get("test", {}),
        **{name: float(np.mean([one[name] for one in facts])) for name in ("seconds", "cpu_seconds")},
        **({"validation": found["validation"]} if "validation" in found else {}),
        **{name: facts[0][name] for name in ("epochs", "learned", "config")},
    }


def _figures(runs: list[KeptRun], what: str) -> dict[str, Any]:
    asked = [run.asked[what] for run in runs]
    flat: dict[str, Any] = {"users": len(asked[0].users)}
    if "repeats" in runs[0].facts:
        flat["repeats"] = runs[0].facts["repeats"][what]
    for name, estimate in estimates(mean_of(asked)).items():
        values = [float(one.values[name].mean()) for one in asked]
        flat |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        flat[f"{name}_seeds"] = values
        if len(values) > 1:
            flat[f"{name}_stderr"] = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return flat


def table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """A column for each tower's entry."""
    made = Table("", box=None, pad_edge=False)
    for tower in found:
        made.add_column(tower, justify="right", no_wrap=True)
    for name in SHOWN:
        if all(name in each for each in found.values()):
            made.add_row(name, *(_estimate(each, name) for each in found.values()))
    for name in SHOWN:
        if all("validation" in each for each in found.values()):
            made.add_row(f"validation {name}", *(_estimate(each["validation"], name) for each in found.values()))
    made.add_row("seeds", *(str(len(each["seeds"])) for each in found.values()))
    made.add_row("epochs", *(str(each["epochs"]) for each in found.values()))
    for name, title in (("seconds", "seconds a seed"), ("cpu_seconds", "seconds of processors a seed")):
        made.add_row(title, *(f"{each[name]:,.0f}" for each in found.values()))
    return made


def _estimate(figures: Mapping[str, Any], name: str) -> str:
    half = (figures[f"{name}_high"] - figures[f"{name}_low"]) / 2
    error = f" [dim]over seeds ±{figures[f'{name}_stderr']:.4f}[/]" if f"{name}_stderr" in figures else ""
    return f"{figures[name]:.4f} [dim]±{half:.4f}[/]{error}"
