"""What exploration cost and brought, as tables for the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from pagoda.evaluation.exploration.report import ExplorationReport
from pagoda.evaluation.report import Estimate

_CAPTION = (
    "In brackets: 95 % intervals over users. A click is a positive. Others: their items in the same places, or "
    "next to those that always were explored. Evenly: if all items that chance chose among had been shown alike."
)


def exploration_tables(report: ExplorationReport) -> Group:
    """All channels, then explored places beside others, then what became of the items."""
    window, places, items = report.window, report.places, report.items
    title = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}"
    table = _table(title, "channel", "shown", "clicked", "click rate")
    for name, one in report.channels.items():
        table.add_row(name, f"{one.shown:,}", f"{one.clicked:,}", _cell(one.click_rate, ".4f"))
    cost = _table("", "explored places", "")
    cost.add_row("click rate", _cell(places.click_rate, ".4f"))
    cost.add_row("click rate of others", _cell(places.others, ".4f"))
    cost.add_row("explored by others", _cell(places.ratio, ".3f"))
    cost.add_row("click rate, evenly", _cell(places.evenly, ".4f"))
    cost.add_row("clicks lost", _cell(places.lost_clicks, ",.0f"))
    cost.add_row("of all clicks", _cell(places.lost_share, ".2%"))
    brought = _table("", "explored items", "")
    brought.add_row("shown", f"{items.explored:,}")
    brought.add_row(f"had {items.clicks} clicks before", f"{items.known_before:,}")
    brought.add_row(f"came to {items.clicks} clicks", f"{items.known_since:,}")
    brought.add_row("of these, in explored places alone", f"{items.known_alone:,}")
    brought.add_row("clicks in others' places afterwards", f"{items.clicks_later:,}")
    return Group(table, cost, brought, "", f"[dim]{_CAPTION}[/]")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _cell(estimate: Estimate, form: str) -> str:
    return f"{estimate.value:{form}} [dim]({estimate.low:{form}} to {estimate.high:{form}})[/]"
