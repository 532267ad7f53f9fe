"""Reports of replays as the benchmark's document, table and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from pagoda.evaluation.replay.plan import Policy
from pagoda.evaluation.replay.report import Report

METRIC = "recall@50"
_TIE = 0.005


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


def sweep_table(found: dict[str, dict[str, Any]]) -> Table:
    """All replays, a line each."""
    table = Table(title="Recall@50 by policy, and what full+incremental adds", box=None, title_justify="left")
    table.add_column("")
    for name in (*Policy, "minus full", "minus incremental"):
        table.add_column(str(name), justify="right", no_wrap=True)
    for name, result in found.items():
        recalls = [f"{result[policy.value][METRIC]:.3f}" for policy in Policy]
        pairs = [result["paired"][f"{Policy.BOTH} minus {other}"] for other in (Policy.FULL, Policy.INCREMENTAL)]
        table.add_row(name, *recalls, *(_judged(pair) for pair in pairs))
    return table


def _judged(pair: dict[str, float]) -> str:
    low, high = pair["low"], pair["high"]
    tie = low <= 0 <= high or max(abs(low), abs(high)) <= _TIE
    return f"{pair['difference']:+.4f} [{low:+.4f}, {high:+.4f}]{' tie' if tie else ''}"


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
