"""A report as tables for the terminal."""

from __future__ import annotations

from rich.console import Group as Stack
from rich.table import Table

from pagoda.evaluation.rendering.cells import mean_cell
from pagoda.evaluation.rendering.mixture import mixture_tables
from pagoda.evaluation.report import Estimate, GroupName, Report, UnaskedReason, UnknownKind

TITLES = {
    "live": "version",
    "frozen": "frozen",
    "ease": "EASE",
    "item_knn": "item-kNN",
    "popularity": "popularity",
    "random": "random",
}
PLOTTED = "recall@50"
_CAPTION = "±: half of the 95 % interval over users. frozen: the version, with histories as of the window's start."
GROUPS: dict[GroupName, str] = {
    "all": "all",
    "head": "head third",
    "middle": "middle third",
    "tail": "tail third",
    "new_users": "new users",
}
_UNASKED: dict[UnaskedReason, str] = {
    "seen_before": "on items that their user had before",
    "item_gone": "on items that the catalogue has no more",
    "not_drawn": "not drawn",
}
_UNKNOWN: dict[UnknownKind, str] = {
    "new_item": "on items without one before the window",
    "new_user": "of users without a row of their own",
    "no_history": "of users without a history at that moment",
}


def as_tables(report: Report) -> Stack:
    """All methods over all rows, the version beside the baseline of items, then Recall@50 by group."""
    window = f"{report.window.start:%Y-%m-%d} to {report.window.end:%Y-%m-%d}"
    asked = f"{report.rows:,} positives of {report.users:,} users, {report.items:,} items"
    methods = [name for name in report.methods if name != report.item_baseline]
    overall = _compared(report, f"{window}: {asked}", methods, "popularity", report.lift)
    parts: list[Table | str] = [overall, ""]
    if baseline := report.item_baseline:
        title = f"beside {TITLES[baseline]}, which knows nothing but what goes with the items that a user had"
        parts += [_compared(report, title, ["live", baseline], baseline, report.item_lift), ""]
    parts += [_by_group(report, methods), "", *mixture_tables(report.mixture)]
    return Stack(*parts, *_counts(report), f"[dim]{_CAPTION}[/]")


def _compared(report: Report, title: str, methods: list[str], with_: str, lift: dict[str, Estimate]) -> Table:
    table = _table(methods, title)
    table.add_column(f"vs {TITLES[with_]}", justify="right", no_wrap=True)
    shown = [report.methods[name] for name in methods]
    for metric in report.methods["live"].groups["all"].metrics:
        cells = [mean_cell(method.groups["all"].metrics[metric]) for method in shown]
        table.add_row(metric, *cells, *([mean_cell(lift[metric])] if metric in lift else []))
    for name in report.methods["live"].coverage:
        table.add_row(name, *(f"{method.coverage[name]:.3f}" for method in shown))
    return table


def _counts(report: Report) -> list[str]:
    """How many positives were not asked and why, and of how many little was known."""
    unasked = [f"{count:,} {_UNASKED[reason]}" for reason, count in report.unasked.items()]
    unknown = [f"{count:,} {_UNKNOWN[kind]}" for kind, count in report.unknown.items()]
    lines = [f"Of {report.available:,} positives not asked: {', '.join(unasked)}."] if unasked else []
    lines += [f"Asked, though little is known: {', '.join(unknown)}."] if unknown else []
    return [*lines, *(["Items that users had before are asked and shown like others."] if report.repeats_asked else [])]


def _by_group(report: Report, methods: list[str]) -> Table:
    table = _table(methods, f"{PLOTTED} by popularity of the item, and for new users")
    table.add_column("positives", justify="right")
    for group, title in GROUPS.items():
        if group in report.methods["live"].groups:
            cells = [mean_cell(report.methods[name].groups[group].metrics[PLOTTED]) for name in methods]
            table.add_row(title, *cells, f"{report.methods['live'].groups[group].rows:,}")
    return table


def _table(methods: list[str], title: str) -> Table:
    # Without borders it fits a terminal of 80 columns.
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for method in methods:
        table.add_column(TITLES[method], justify="right", no_wrap=True)
    return table
