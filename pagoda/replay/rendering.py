"""A replay as tables for the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Group as Stack
from rich.table import Table

from pagoda.evaluation.rendering.cells import difference_cell, mean_cell
from pagoda.evaluation.report import Estimate
from pagoda.replay.plan import Policy
from pagoda.replay.report import Difference, Hour, ReplayReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLOTTED = "recall@50"
_COLOURS = {Policy.FROZEN: "C7", Policy.FULL: "C0", Policy.INCREMENTAL: "C1", Policy.BOTH: "C3"}
_HOURS_DRAWN = 10 * 24
"""A longer replay is drawn day by day."""


def as_tables(report: ReplayReport) -> Stack:
    """All policies with their costs, then the paired differences: a line for each figure."""
    first = f"{report.first.start:%Y-%m-%d} to {report.first.end:%Y-%m-%d} ({report.first_seconds:,.0f} s)"
    caption = f"±: half of the 95 % interval over users; bold: outside it. All start from a first version of {first}."
    return Stack(_policies(report), "", _paired(report), "", f"[dim]{caption}[/]")


def _policies(report: ReplayReport) -> Table:
    window, overall = report.window, report.overall
    asked = f"{overall.rows:,} positives of {overall.users:,} users, {report.items:,} items"
    title = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}: {asked}"
    table = _table(title, [policy.value for policy in overall.policies])
    for metric in _metrics(report):
        table.add_row(metric, *(mean_cell(found[metric]) for found in overall.policies.values()))
    costs = [report.costs[policy] for policy in overall.policies]
    table.add_row("full updates", *(f"{cost.full_updates:,}" for cost in costs))
    table.add_row("incremental updates", *(f"{cost.incremental_updates:,}" for cost in costs))
    table.add_row("seconds", *(f"{cost.seconds:,.1f}" for cost in costs))
    return table


def _paired(report: ReplayReport) -> Table:
    paired = report.overall.paired
    # In lines, since a name is wider than its figures.
    names = ["\n".join([one.policy.value.replace("+", "+\n"), "minus", one.minus.value]) for one in paired]
    table = _table("Paired differences, on the same positives", names)
    for metric in _metrics(report):
        table.add_row(metric, *(difference_cell(one.metrics[metric]) for one in paired))
    return table


def _metrics(report: ReplayReport) -> list[str]:
    return list(next(iter(report.overall.policies.values())))


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", min_width=len("recall@100"))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, vertical="bottom")
    return table


def plot(report: ReplayReport, path: Path) -> None:
    """Draw Recall@50 over the replay, and by hours since the full update, into `path`."""
    # The canvas of the object interface: no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2)
    _over_time(figure.add_subplot(grid[0, :]), report)
    _since_full(figure.add_subplot(grid[1, 0]), report)
    _differences(figure.add_subplot(grid[1, 1]), report)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _over_time(axes: Axes, report: ReplayReport) -> None:
    hourly = len(report.hours) <= _HOURS_DRAWN
    for policy in report.overall.policies:
        if hourly:
            estimates = [hour.figures.policies[policy][_PLOTTED] for hour in report.hours]
            _line(axes, np.array([_naive(hour.start) for hour in report.hours]), estimates, policy)
        else:
            days, means = zip(*_daily(report.hours, policy), strict=True)
            axes.plot(np.array(days), means, color=_COLOURS[policy], label=policy.value, linewidth=1.2)
    if hourly:
        midnights = np.arange(_naive(report.window.start), _naive(report.window.end), np.timedelta64(1, "D"))
        axes.vlines(midnights, *axes.get_ylim(), color="0.8", linewidth=0.8, zorder=0)
    axes.set(title=f"{_PLOTTED} {'hour by hour' if hourly else 'day by day'}; band: 95 % over users", ylabel=_PLOTTED)
    axes.legend(ncols=4)


def _since_full(axes: Axes, report: ReplayReport) -> None:
    hours = np.array([hour.hour for hour in report.since_full])
    for policy in report.overall.policies:
        _line(axes, hours, [hour.figures.policies[policy][_PLOTTED] for hour in report.since_full], policy)
    axes.set(title="By hours since the full update", xlabel="hours", ylabel=_PLOTTED)


def _differences(axes: Axes, report: ReplayReport) -> None:
    hours = np.array([hour.hour for hour in report.since_full])
    for number, difference in enumerate(report.overall.paired):
        if difference.policy is not Policy.BOTH:
            continue
        estimates = [hour.figures.paired[number].metrics[_PLOTTED] for hour in report.since_full]
        _line(axes, hours, estimates, difference.minus, difference)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(title="What full+incremental adds, by hours since the full update", xlabel="hours", ylabel="difference")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _line(
    axes: Axes,
    places: NDArray[np.generic],
    estimates: list[Estimate],
    policy: Policy,
    difference: Difference | None = None,
) -> None:
    means, low, high = ([getattr(e, name) for e in estimates] for name in ("value", "low", "high"))
    axes.plot(places, means, color=_COLOURS[policy], label=difference.name if difference else policy.value)
    axes.fill_between(places, low, high, color=_COLOURS[policy], alpha=0.15, linewidth=0)


def _daily(hours: Sequence[Hour], policy: Policy) -> list[tuple[np.datetime64, float]]:
    """Mean over the rows of each day."""
    days: list[tuple[np.datetime64, float]] = []
    for _, group in groupby(hours, key=lambda hour: hour.start.date()):
        found = list(group)
        means = [hour.figures.policies[policy][_PLOTTED].value for hour in found]
        days.append((_naive(found[0].start), float(np.average(means, weights=[hour.figures.rows for hour in found]))))
    return days


def _naive(moment: datetime) -> np.datetime64:
    """UTC for numpy, which knows no zones."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None))
