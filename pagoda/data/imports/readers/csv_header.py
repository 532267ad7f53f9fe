"""The first line of a CSV file: names of columns, or values already."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pagoda.errors import DataError

_VALUE = re.compile(
    r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?|\d{4}-\d\d?-\d\d?.*|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}.*", re.DOTALL
)


_LOOKED_AT = 20


def seems_header(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether `names`, the first line, look like names; `rows` are some that follow.

    That is so unless there is a number or a date among them, but no text above numbers or dates.
    """
    columns = _columns(names, rows[:_LOOKED_AT])
    return not any(map(_is_value, names)) or any(_heads(name, values) for name, values in columns)


def check_header(file: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise DataError if `names`, the first line, look like values; `rows` are some that follow."""
    if seems_header(names, rows):
        return
    raise DataError(
        f"{file}: there seems to be no header line, since the first one is {', '.join(names)[:80]!r}; say what its "
        "columns are by --columns, such as user_id,item_id,event,timestamp (or give the header's columns other names)"
    )


def check_columns(file: str, columns: Sequence[str], first: Sequence[str]) -> None:
    """Raise DataError unless the values of the `first` line may be in these columns."""
    if len(columns) != len(first):
        raise DataError(f"{file}: --columns names {len(columns)} columns, but the first line has {len(first)} values")
    if list(columns) == list(first):
        raise DataError(f"{file}: the first line is a header line already; leave --columns out")


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[str, list[str]]]:
    return [(name, [row[n] for row in rows if n < len(row) and row[n]]) for n, name in enumerate(names)]


def _heads(name: str, values: list[str]) -> bool:
    return bool(name and values) and not _is_value(name) and all(map(_is_value, values))


def _is_value(text: str) -> bool:
    return _VALUE.fullmatch(text.strip()) is not None
