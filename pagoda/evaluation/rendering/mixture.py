"""What an answer of several channels is worth, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

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
    return [beside_towers(title, mixture), "", *channel_tables(mixture[-1]), f"[dim]{CAPTION}[/]", ""]


def beside_towers(title: str, lengths: Sequence[MixtureFigures]) -> Table:
    """Merged answers beside the towers' own, a column for each length."""
    table = _table(title, [f"recall@{one.k}" for one in lengths])
    table.add_row("merged", *(mean_cell(one.recall) for one in lengths))
    table.add_row("two_tower", *(mean_cell(one.recall_two_tower) for one in lengths))
    table.add_row("gain", *(difference_cell(one.gain) for one in lengths))
    tails = (one.tail_gain for one in lengths)
    table.add_row("gain in tail", *("" if tail is None else difference_cell(tail) for tail in tails))
    table.add_row("coverage, merged", *(f"{one.coverage:.3f}" for one in lengths))
    table.add_row("coverage, two_tower", *(f"{one.coverage_two_tower:.3f}" for one in lengths))
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
    # By number, since the names of all channels side by side are wider than a terminal.
    table = _table("overlap", [str(number) for number in range(1, len(one.channels) + 1)])
    for number, (kind, found) in enumerate(one.channels.items(), 1):
        shares = (f"{found.overlap[other]:.3f}" if other != kind else "" for other in one.channels)
        table.add_row(f"{number} {kind}", *shares)
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
