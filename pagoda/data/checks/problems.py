"""What can be wrong with a dataset, and how it is said: every problem names file, column, row and value."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pagoda.errors import DataError


class Kind(StrEnum):
    """Kinds of problems; `docs/data.md` explains each."""

    UNREADABLE = "unreadable"
    CORRUPT = "corrupt"
    SPEC = "features"
    MISSING_COLUMN = "missing-column"
    EXTRA_COLUMN = "extra-column"
    DTYPE = "dtype"
    EMPTY = "empty"
    PARTITION = "partition"
    NULL = "null"
    EMPTY_ID = "empty-id"
    DUPLICATE = "duplicate"
    COLLISION = "collision"
    UNKNOWN_ITEM = "unknown-item"
    UNKNOWN_EVENT = "unknown-event"
    NO_ZONE = "no-zone"
    TIMESTAMP = "timestamp"
    FUTURE = "future"
    ORDER = "order"
    NOT_FINITE = "not-finite"
    LENGTH = "length"
    RETURN = "return"
    TOO_LONG = "too-long"
    TOO_MANY = "too-many"
    WEIGHT = "weight"
    UNKNOWN_ZONE = "unknown-zone"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. Rows count from 1 within their file; a CSV's header line is no row."""

    kind: Kind
    file: str
    message: str
    """What was expected, and what to do."""
    column: str | None = None
    row: int | None = None
    value: str | None = None
    item: str | None = None
    """ID of the item that the row is of, where that says more than the row."""

    def __str__(self) -> str:
        place = [self.file]
        if self.column is not None:
            place.append(f"column {self.column!r}")
        if self.row is not None:
            place.append(f"row {self.row:,}")
        if self.item is not None:
            place.append(f"item {self.item}")
        value = "" if self.value is None else f"value {self.value}: "
        return f"{', '.join(place)}: {value}{self.message}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class ProblemSink(Protocol):
    """Takes problems as they are found."""

    def add(self, problem: Problem, count: int = 1) -> None:
        """Take `problem`; `count` rows have the same kind of problem, of which this is one."""


class Strict:
    """Stops at the first problem."""

    def add(self, problem: Problem, count: int = 1) -> None:
        """Raise DataError."""
        more = f" ({count:,} such rows in this batch)" if count > 1 else ""
        raise DataError(f"{problem}{more}")


@dataclass
class ProblemReport:
    """Keeps the first problems of each kind and counts the rest."""

    limit: int = 20
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)

    def add(self, problem: Problem, count: int = 1) -> None:
        """Keep `problem` unless its kind has had its share."""
        self._keep(problem)
        self.counts[problem.kind] += count

    def absorb(self, later: ProblemReport) -> None:
        """Take what was found after all that is here, as if it had been added here."""
        for problem in later.problems:
            self._keep(problem)
        self.counts.update(later.counts)

    @property
    def total(self) -> int:
        """Number of problems, those that were not kept included."""
        return self.counts.total()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def _keep(self, problem: Problem) -> None:
        if sum(kept.kind is problem.kind for kept in self.problems) < self.limit:
            self.problems.append(problem)


NAMED_ROWS = 20
_SHOWN_CHARACTERS = 80


def add_rows(
    sink: ProblemSink,
    problem: Problem,
    first_row: int,
    values: pa.Array,
    bad: np.ndarray,
    *,
    items: pa.Array | None = None,
) -> None:
    """Report `problem` for the rows where `bad` (bool [n]) holds, at most twenty of them by name.

    Args:
        sink: Takes the problems; the first one carries the count of those without a name.
        problem: Kind, file, column and message; row and value are filled in.
        first_row: Row number of the first value, counted from 1.
        values: Array [n], of the column.
        bad: Which rows have the problem.
        items: IDs of the rows' items, where a message is to name them.
    """
    rows = np.flatnonzero(bad)
    for position, row in enumerate(rows[:NAMED_ROWS]):
        count = 1 if position else max(1, rows.size - NAMED_ROWS + 1)
        item = None if items is None else shown(items[int(row)])
        named = replace(problem, row=first_row + int(row), value=shown(values[int(row)]), item=item)
        sink.add(named, count)


def shown(scalar: pa.Scalar) -> str:
    """A value as a message shows it: short, and visibly quoted where it is text."""
    if not scalar.is_valid:
        return "null"
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):
        # A moment beyond the year 9999: Arrow can hold it, Python cannot.
        return f"{scalar.cast(pa.int64()).as_py()} µs after 1970"
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
