"""Reports of replays as the benchmark's document, table and picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Group as Stack
from rich.table import Table

from pagoda.evaluation.replay.plan import Policy
from pagoda.evaluation.replay.report import Report

METRIC = "recall@50"
_TIE = 0.005
_OTHERS = (Policy.FULL, Policy.INCREMENTAL)


def entry(report: Report) -> dict[str, Any]:
    """Each policy's Recall@50 with its interval, its cost and the paired differences.

    The cost is in seconds of a processor, since replays run beside one another, each on one thread.
    """
    policies = {}
    for policy, metrics in report.overall.policies.items():
        estimate = metrics[METRIC]
        policies[policy.value] = {
            METRIC: estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "cost_seconds": report.costs[policy].cpu_seconds,
        }
    paired = {}
    for difference in report.overall.paired:
        estimate = difference.metrics[METRIC]
        paired[difference.name] = {"difference": estimate.value, "low": estimate.low, "high": estimate.high}
    about = {"rows": report.overall.rows, "users": report.overall.users, "first_seconds": report.first_seconds}
    return {**policies, "paired": paired, **about}


def sweep_tables(found: Mapping[tuple[str, str], dict[str, Any]]) -> Stack:
    """All replays, a line each, by the name of the data and whether there is a history."""
    recalls, differences = _table("Recall@50 by policy"), _table("What full+incremental adds, with 95 % intervals")
    for policy in Policy:
        recalls.add_column(str(policy), justify="right", no_wrap=True)
    for other in _OTHERS:
        differences.add_column(f"minus {other}", justify="right", no_wrap=True)
    for names, result in found.items():
        recalls.add_row(*names, *(f"{result[policy.value][METRIC]:.3f}" for policy in Policy))
        differences.add_row(*names, *(_judged(result["paired"][f"{Policy.BOTH} minus {other}"]) for other in _OTHERS))
    return Stack(recalls, "", differences)


def _table(title: str) -> Table:
    table = Table(title=title, box=None, title_justify="left", pad_edge=False)
    for name in ("drift", "history"):
        table.add_column(name, no_wrap=True)
    return table


def _judged(pair: dict[str, float]) -> str:
    low, high = pair["low"], pair["high"]
    tie = low <= 0 <= high or max(abs(low), abs(high)) <= _TIE
    return f"{pair['difference']:+.3f} [{low:+.3f}, {high:+.3f}]{' tie' if tie else ''}"


def draw_sweep(sweep: dict[str, Any], path: Path) -> None:
    """Recall@50 by drift for each policy, without and with a history."""
    if not sweep:
        return
    histories = [name for name in ("without_history", "with_history") if name in next(iter(sweep.values()))]
    figure = Figure(figsize=(5.5 * len(histories), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(histories), sharey=True, squeeze=False)[0]
    for place, history in zip(axes, histories, strict=True):
        for number, policy in enumerate(Policy):
            found = [by_history[history][policy.value] for by_history in sweep.values()]
            means = [one[METRIC] for one in found]
            below = [one[METRIC] - one["low"] for one in found]
            above = [one["high"] - one[METRIC] for one in found]
            spots = [drift + 0.08 * number for drift in range(len(found))]
            place.errorbar(spots, means, yerr=(below, above), marker="o", capsize=3, label=policy.value)
        place.set_xticks([drift + 0.12 for drift in range(len(sweep))], list(sweep))
        place.set(title=history.replace("_", " "), xlabel="drift", ylabel=METRIC)
    axes[0].legend()
    figure.savefig(path, dpi=110)
