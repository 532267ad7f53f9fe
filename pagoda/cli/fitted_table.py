"""A table for terminals of any width: what matters stands whole, the rest gives way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_ANY_WIDTH = 10_000
_GAP = 2


@dataclass(frozen=True)
class Column:
    """One column. Its cells stand whole, each on one line, unless it is of prose."""

    name: str
    right: bool = False
    """Whether it is aligned to the right, as numbers are."""
    prose: int = 0
    """Of words that wrap: how many columns of the terminal it needs at least to be read. 0: no prose."""
    gives_way: int = 0
    """Where the terminal is too narrow for all, columns go: those of 1 first, then those of 2 … 0: it stays."""


class FittedTable:
    """A table without borders that leaves out columns, as theirs says, until the others fit the terminal."""

    def __init__(self, *columns: Column) -> None:
        """A table without rows."""
        self._columns = columns
        self._rows: list[Sequence[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a line: a cell for each column. Brackets in it are no markup."""
        self._rows.append([cell if isinstance(cell, Text) else Text(cell) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table in as many columns as there is room for."""
        shown, room = list(self._columns), options.max_width
        for going in sorted({column.gives_way for column in shown} - {0}):
            if self._needs(shown, console, options) <= room:
                break
            shown = [column for column in shown if column.gives_way != going]
        yield self._table(shown, whole=self._needs(shown, console, options) <= room)

    def _needs(self, shown: Sequence[Column], console: Console, options: ConsoleOptions) -> int:
        """How many columns of the terminal it takes at least."""
        table = self._table([column for column in shown if not column.prose])
        width = console.measure(table, options=options.update(max_width=_ANY_WIDTH)).maximum
        return width + sum(column.prose + _GAP for column in shown if column.prose)

    def _table(self, shown: Sequence[Column], *, whole: bool = True) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in shown:
            # What is wider than its column, a path in a reason say, is folded: nothing is cut.
            justify: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(column.name, justify=justify, overflow="fold", no_wrap=whole and not column.prose)
        for row in self._rows:
            table.add_row(*(cell for cell, column in zip(row, self._columns, strict=True) if column in shown))
        return table
