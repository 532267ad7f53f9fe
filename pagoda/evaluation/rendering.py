"""A report as tables for the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group as Stack
from rich.table import Table

from pagoda.evaluation.report import Estimate, GroupName, Report

_TITLES = {
    "live": "version",
    "frozen": "version, history frozen",
    "popularity": "popularity",
    "random": "random",
}
_GROUPS: dict[GroupName, str] = {
    "all": "all",
    "head": "head third",
    "middle": "middle third",
    "tail": "tail third",
    "new_users": "new users",
}
_PLOTTED = "recall@50"


def as_tables(report: Report) -> Stack:
    """All methods over all rows, then Recall@50 by group, each with its 95 % interval over users."""
    window = f"{report.window.start:%Y-%m-%d} to {report.window.end:%Y-%m-%d}"
    asked = f"{report.rows:,} positives of {report.users:,} users among {report.items:,} items, {window}"
    methods = Table(title=f"Evaluation: {asked}", title_justify="left")
    metrics = list(report.methods["live"].groups["all"].metrics)
    for name in ("", *metrics, *report.methods["live"].coverage):
        methods.add_column(name, justify="right" if name else "left")
    for key, method in report.methods.items():
        cells = [_cell(method.groups["all"].metrics[metric]) for metric in metrics]
        methods.add_row(_TITLES[key], *cells, *(f"{share:.3f}" for share in method.coverage.values()))
    lift = [f"x {report.lift[metric].value:.2f}" if metric in report.lift else "" for metric in metrics]
    methods.add_row("version / popularity", *lift)
    return Stack(methods, _by_group(report))


def _by_group(report: Report) -> Table:
    table = Table(title=f"{_PLOTTED} by popularity of the item, and for new users", title_justify="left")
    groups = [group for group in _GROUPS if group in report.methods["live"].groups]
    table.add_column("")
    for group in groups:
        table.add_column(f"{_GROUPS[group]} ({report.methods['live'].groups[group].rows:,})", justify="right")
    for key, method in report.methods.items():
        table.add_row(_TITLES[key], *(_cell(method.groups[group].metrics[_PLOTTED]) for group in groups))
    return table


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [dim]{estimate.low:.3f}-{estimate.high:.3f}[/]"


def plot(report: Report, path: Path) -> None:
    """Draw recall against k, and Recall@50 by group, into `path` (its suffix chooses the format)."""
    # The canvas of the object interface: no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    curve, bars = figure.subplots(1, 2)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
