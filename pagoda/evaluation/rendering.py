"""A report as tables for the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group as Stack
from rich.table import Table

from pagoda.evaluation.report import Estimate, GroupName, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"live": "version", "frozen": "frozen", "popularity": "popularity", "random": "random"}
_CAPTION = "±: half of the 95 % interval over users. frozen: the version, with histories as of the window's start."
_GROUPS: dict[GroupName, str] = {
    "all": "all",
    "head": "head third",
    "middle": "middle third",
    "tail": "tail third",
    "new_users": "new users",
}
_PLOTTED = "recall@50"


def as_tables(report: Report) -> Stack:
    """All methods over all rows, then Recall@50 by group."""
    window = f"{report.window.start:%Y-%m-%d} to {report.window.end:%Y-%m-%d}"
    asked = f"{report.rows:,} positives of {report.users:,} users, {report.items:,} items"
    table = _table(report, f"{window}: {asked}")
    table.add_column("vs popularity", justify="right", no_wrap=True)
    for metric in report.methods["live"].groups["all"].metrics:
        cells = [_cell(method.groups["all"].metrics[metric]) for method in report.methods.values()]
        table.add_row(metric, *cells, *([_cell(report.lift[metric])] if metric in report.lift else []))
    for name in report.methods["live"].coverage:
        table.add_row(name, *(f"{method.coverage[name]:.3f}" for method in report.methods.values()))
    return Stack(table, "", _by_group(report), "", f"[dim]{_CAPTION}[/]")


def _by_group(report: Report) -> Table:
    table = _table(report, f"{_PLOTTED} by popularity of the item, and for new users")
    table.add_column("positives", justify="right")
    for group, title in _GROUPS.items():
        if group in report.methods["live"].groups:
            cells = [_cell(method.groups[group].metrics[_PLOTTED]) for method in report.methods.values()]
            table.add_row(title, *cells, f"{report.methods['live'].groups[group].rows:,}")
    return table


def _table(report: Report, title: str) -> Table:
    # Without borders it fits a terminal of 80 columns.
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for method in report.methods:
        table.add_column(_TITLES[method], justify="right", no_wrap=True)
    return table


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}[dim]±{(estimate.high - estimate.low) / 2:.3f}[/]"


def plot(report: Report, path: Path) -> None:
    """Draw the picture into `path` (its suffix chooses the format)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure(report).savefig(path, dpi=120)


def figure(report: Report) -> Figure:
    """A picture of recall against k, and of Recall@50 by group."""
    # The canvas of the object interface: no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(drawn)
    curve, bars = drawn.subplots(1, 2)
    groups = [group for group in _GROUPS if group in report.methods["live"].groups]
    width = 0.8 / len(report.methods)
    for number, (key, method) in enumerate(report.methods.items()):
        curve.plot(report.curve_at, method.curve, marker="o", markersize=3, label=_TITLES[key])
        estimates = [method.groups[group].metrics[_PLOTTED] for group in groups]
        heights = [estimate.value for estimate in estimates]
        below = [max(0.0, estimate.value - estimate.low) for estimate in estimates]
        above = [max(0.0, estimate.high - estimate.value) for estimate in estimates]
        places = [place + number * width for place in range(len(groups))]
        bars.bar(places, heights, width, yerr=(below, above), capsize=2, label=_TITLES[key])
    curve.set(xscale="log", xlabel="k", ylabel="Recall@k", title=f"{report.version} on {report.rows:,} positives")
    bars.set(title=f"{_PLOTTED} by popularity of the item", ylabel=_PLOTTED)
    bars.set_xticks([place + 0.4 - width / 2 for place in range(len(groups))], [_GROUPS[group] for group in groups])
    curve.legend()
    return drawn
