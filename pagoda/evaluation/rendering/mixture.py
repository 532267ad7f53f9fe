"""What an answer of several channels is worth, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from pagoda.evaluation.rendering.cells import difference_cell, mean_cell
from pagoda.evaluation.report import MixtureFigures

_CAPTION = (
    "recall: of a channel's own candidates; adds: what the answers' recall loses without it; candidates: of it, divided "
    "by the answers' places; answers: share of their items that it had; overlap: share of a row's candidates that a "
    "column has, too."
)


def mixture_tables(mixture: Sequence[MixtureFigures]) -> list[Table | str]:
    """Merged answers beside the towers' own by length, then the channels of the longest; nothing without channels."""
    if not mixture:
        return []
    longest = mixture[-1]
    return [_lengths(mixture), "", _channels(longest), "", _overlap(longest), "", f"[dim]{_CAPTION}[/]", ""]


def _lengths(mixture: Sequence[MixtureFigures]) -> Table:
    columns = ("merged", "two_tower", "gain", "gain in tail", "coverage", "two_tower's")
    table = _table("answers merged from all channels, beside as many items of the two towers alone", columns)
    for one in mixture:
        table.add_row(
            f"recall@{one.k}",
            mean_cell(one.recall),
            mean_cell(one.recall_two_tower),
            difference_cell(one.gain),
            "" if one.tail_gain is None else difference_cell(one.tail_gain),
            f"{one.coverage:.3f}",
            f"{one.coverage_two_tower:.3f}",
        )
    return table


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
