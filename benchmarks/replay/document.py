"""Reports of replays as the benchmark's document, table and picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import hypot
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Group as Stack
from rich.table import Table

from pagoda.evaluation.report import Estimate
from pagoda.replay.plan import Policy
from pagoda.replay.report import ReplayReport
from pagoda.simulation import Drift

METRIC = "recall@50"
_TIE = 0.005
"""Where nothing drifts, a difference within this is a tie: nothing is to be gained there, and enough rows show any."""
_OTHERS = (Policy.FULL, Policy.INCREMENTAL)


def entry(reports: Mapping[int, ReplayReport]) -> dict[str, Any]:
    """Each policy's Recall@50 with its interval, its cost and the paired differences, of one world or several.

    The cost is in seconds of a processor, since replays run beside one another, each on one thread; of several worlds,
    that of one on average.

    Args:
        reports: By the seed of the world.
    """
    found = list(reports.values())
    rows = [report.overall.rows for report in found]
    policies = {
        policy.value: {
            **_named(METRIC, pool([report.overall.policies[policy][METRIC] for report in found], rows)),
            "cost_seconds": fmean(report.costs[policy].cpu_seconds for report in found),
        }
        for policy in found[0].overall.policies
    }
    paired = {
        name: _named("difference", pool([_differences(report)[name] for report in found], rows))
        for name in _differences(found[0])
    }
    about = {
        "rows": sum(rows),
        "users": sum(report.overall.users for report in found),
        "first_seconds": fmean(report.first_seconds for report in found),
    }
    worlds = {
        str(seed): {name: _named("difference", one) for name, one in _differences(report).items()}
        for seed, report in reports.items()
    }
    return {**policies, "paired": paired, **about, "worlds": worlds}


def pool(estimates: Sequence[Estimate], rows: Sequence[int]) -> Estimate:
    """The mean over all rows of independent worlds: squares of standard errors add, weighted by rows."""
    if len(estimates) == 1:
        return estimates[0]
    weights = [count / sum(rows) for count in rows]
    value = sum(weight * one.value for weight, one in zip(weights, estimates, strict=True))
    half = hypot(*(weight * (one.high - one.low) / 2 for weight, one in zip(weights, estimates, strict=True)))
    return Estimate(value=value, low=value - half, high=value + half)


def _differences(report: ReplayReport) -> dict[str, Estimate]:
    return {one.name: one.metrics[METRIC] for one in report.overall.paired}


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, "low": estimate.low, "high": estimate.high}


def sweep_tables(document: Mapping[str, Any]) -> Stack:
    """All of a document, a line for each drift with or without a history, and MovieLens."""
    recalls, differences = _table("Recall@50 by policy"), _table("What full+incremental adds, with 95 % intervals")
    for policy in Policy:
        recalls.add_column(str(policy), justify="right", no_wrap=True)
    for other in _OTHERS:
        differences.add_column(f"minus {other}", justify="right", no_wrap=True)
    for names, result in _lines(document):
        recalls.add_row(*names, *(f"{result[policy.value][METRIC]:.3f}" for policy in Policy))
        margin = _TIE if names[0] == Drift.NONE else 0.0
        pairs = [result["paired"][f"{Policy.BOTH} minus {other}"] for other in _OTHERS]
        differences.add_row(*names, *(_judged(pair, margin) for pair in pairs))
    return Stack(recalls, "", differences)


def _lines(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for drift, by_history in document["sweep"].items():
        for history, result in by_history.items():
            yield (drift, history.removesuffix("_history")), result
    for history, name in (("without", "movielens-100k"), ("with", "movielens-100k with history")):
        if name in document:
            yield ("MovieLens", history), document[name]


def _table(title: str) -> Table:
    table = Table(title=title, box=None, title_justify="left", pad_edge=False)
    for name in ("drift", "history"):
        table.add_column(name, no_wrap=True)
    return table


def _judged(pair: dict[str, float], margin: float) -> str:
    low, high = pair["low"], pair["high"]
    tie = low <= 0 <= high or max(abs(low), abs(high)) <= margin
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
