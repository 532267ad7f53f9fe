"""What `pagoda ask --explain` prints: 80 columns are enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pagoda.cli.platform.ask.tables import new_table
from pagoda.client import Recommendation
from pagoda.client.explanation import ChannelExplained, Explanation
from serving.console.asking import one_line
from serving.console.explaining import lines_of


def explained_as_tables(answers: Sequence[Recommendation]) -> Group:
    """Why each answer is as it is."""
    return Group(*(part for one in answers if one.explanation for part in _of(one, one.explanation)))


def _of(answer: Recommendation, said: Explanation) -> Iterator[Text | Table]:
    table = new_table()
    table.add_column("", no_wrap=True)
    table.add_column("", ratio=1, overflow="fold")
    table.show_header = False
    for name, told in lines_of(answer):
        table.add_row(name, Text(told))
    yield Text(f"\nWhy these, by {answer.generation} ({answer.arm})\n", style="bold")
    yield table
    yield Text()
    yield _channels(said["channels"])
    for channel in said["channels"]:
        if channel["error"]:
            yield Text(one_line(f"{channel['channel']}: {channel['error']}"), style="yellow")


def _channels(channels: Sequence[ChannelExplained]) -> Table:
    """One a line. An item may be in several; it counts for one."""
    table = new_table()
    for name in ("channel", "", "share", "quota", "ms", "found", "given", "counts"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("channel", "") else "right")
    for one in channels:
        share, ms = one["share"], one["deadline_ms"]
        table.add_row(
            one["channel"],
            one["outcome"],
            "" if share is None else f"{share:.0%}",
            "" if one["quota"] is None else f"{one['quota']:g}",
            "" if ms is None else f"{ms:g}",
            *(f"{number:,}" for number in (one["found"], one["given"], one["credited"])),
        )
    return table
