"""What an answer of several channels is worth, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from pagoda.evaluation.rendering.cells import difference_cell, mean_cell
from pagoda.evaluation.report import MixtureFigures

CAPTION = (
    "±: half of the 95 % interval over users. recall: of a channel's own candidates; adds: what the answers' recall "
    "loses without it; candidates: of it, divided by the answers' places; answers: share of their items that it had; "
    "overlap: share of a row's candidates that a column has, too."
)


def mixture_tables(mixture: Sequence[MixtureFigures]) -> list[Table | str]:
    """Merged answers beside the towers' own by length, then the channels of the longest; nothing without channels."""
    if not mixture:
        return []
    title = "answers merged from all channels, beside as many items of the two towers alone"
    lengths = beside_towers(title, {f"recall@{one.k}": one for one in mixture})
    return [lengths, "", *channel_tables(mixture[-1]), f"[dim]{CAPTION}[/]", ""]


def beside_towers(title: str, named: Mapping[str, MixtureFigures]) -> Table:
    """Merged answers beside the towers' own, a line for each name."""
    table = _table(title, ("merged", "two_tower", "gain", "gain in tail", "coverage", "two_tower's"))
    for name, one in named.items():
        table.add_row(
            name,
            mean_cell(one.recall),
            mean_cell(one.recall_two_tower),
            difference_cell(one.gain),
            "" if one.tail_gain is None else difference_cell(one.tail_gain),
            f"{one.coverage:.3f}",
            f"{one.coverage_two_tower:.3f}",
        )
    return table


def channel_tables(one: MixtureFigures) -> list[Table | str]:
    """What each channel gives beside the others, and what it shares with each; `CAPTION` says what columns are."""
    return [_channels(one), "", _overlap(one), ""]


def _channels(one: MixtureFigures) -> Table:
    table = _table(
        f"by channel, of {one.k} items",
        (f"recall@{one.k}", "adds", "candidates", "answers", "coverage"),
    )
    for kind, found in one.channels.items():
        shares = (f"{share:.3f}" for share in (found.given, found.had, found.coverage))
        table.add_row(kind, mean_cell(found.recall), difference_cell(found.adds), *shares)
    return table


def _overlap(one: MixtureFigures) -> Table:
    table = _table("overlap", tuple(one.channels))
    for kind, found in one.channels.items():
        table.add_row(kind, *(f"{found.overlap[other]:.3f}" if other != kind else "" for other in one.channels))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
