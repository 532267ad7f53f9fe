"""Rows that are not taken: why, how many, and where each of them is filed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pagoda.data.checks.problems import Kind, Problem, shown
from pagoda.data.imports.readers import Refusal
from pagoda.data.layout import Table
from pagoda.errors import ConfigError, DataError


class Reason(StrEnum):
    """Why a row is refused, as `--skip` names it."""

    NULL_IDS = "null-ids"
    BAD_VALUES = "bad-values"
    BAD_TIMESTAMPS = "bad-timestamps"
    UNKNOWN_ITEMS = "unknown-items"
    UNKNOWN_EVENTS = "unknown-events"
    DUPLICATES = "duplicates"
    RETURNS = "returns"
    UNREADABLE = "unreadable"


_REASONS: Mapping[Kind, Reason] = {
    Kind.EMPTY_ID: Reason.NULL_IDS,
    Kind.DTYPE: Reason.BAD_VALUES,
    Kind.NOT_FINITE: Reason.BAD_VALUES,
    Kind.LENGTH: Reason.BAD_VALUES,
    Kind.TOO_LONG: Reason.BAD_VALUES,
    Kind.TOO_MANY: Reason.BAD_VALUES,
    Kind.WEIGHT: Reason.BAD_VALUES,
    Kind.UNKNOWN_ZONE: Reason.BAD_VALUES,
    Kind.TIMESTAMP: Reason.BAD_TIMESTAMPS,
    Kind.NO_ZONE: Reason.BAD_TIMESTAMPS,
    Kind.FUTURE: Reason.BAD_TIMESTAMPS,
    Kind.UNKNOWN_ITEM: Reason.UNKNOWN_ITEMS,
    Kind.UNKNOWN_EVENT: Reason.UNKNOWN_EVENTS,
    Kind.DUPLICATE: Reason.DUPLICATES,
    Kind.RETURN: Reason.RETURNS,
}
_NULLS = {
    "user_id": Reason.NULL_IDS,
    "item_id": Reason.NULL_IDS,
    "timestamp": Reason.BAD_TIMESTAMPS,
    "event": Reason.UNKNOWN_EVENTS,
}
_FILE = pa.schema([("table", pa.string()), ("file", pa.string()), ("row", pa.int64()), ("reason", pa.string()),
                   ("column", pa.string()), ("value", pa.string())])  # fmt: skip


def reason_of(kind: Kind, column: str) -> Reason | None:
    """The reason for which a row with such a problem in Pagoda's `column` may be left out; None: it may not."""
    if kind is Kind.NULL:
        return _NULLS.get(column, Reason.BAD_VALUES)
    return _REASONS.get(kind)


@dataclass(frozen=True)
class SkipLimit:
    """How many rows may be refused."""

    rows: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> SkipLimit:
        """Read `1%` or `100`.

        Raises:
            ConfigError: It is neither.
        """
        try:
            limit = cls(share=float(text[:-1]) / 100) if text.endswith("%") else cls(rows=int(text))
        except ValueError:
            limit = cls(rows=-1)
        if (limit.rows or 0) < 0 or not 0 <= (limit.share or 0) <= 1:
            raise ConfigError(f"--skip-limit {text!r}: must be a number of rows or a share of them, such as 100 or 1%")
        return limit

    def passed(self, refused: int, rows: int) -> bool:
        """Whether `refused` of `rows` are too many."""
        too_many = self.rows is not None and refused > self.rows
        return too_many or (self.share is not None and refused > self.share * rows)

    def __str__(self) -> str:
        return str(self.rows) if self.share is None else f"{self.share * 100:g}%"


@dataclass(frozen=True)
class Skip:
    """Which rows may be left out, and how many."""

    reasons: frozenset[Reason] = frozenset()
    limit: SkipLimit = SkipLimit()

    @classmethod
    def parse(cls, names: str, limit: str = "") -> Skip:
        """Read `null-ids,duplicates` or `all`, and a limit as `SkipLimit.parse` does.

        Raises:
            ConfigError: There is no such reason.
        """
        given = {name.strip() for name in names.split(",") if name.strip()}
        if unknown := sorted(given - {*Reason, "all"}):
            raise ConfigError(f"--skip {unknown[0]!r}: must be among {', '.join(Reason)}, or all")
        reasons = frozenset(Reason) if "all" in given else frozenset(map(Reason, given))
        return cls(reasons, SkipLimit.parse(limit) if limit else SkipLimit())


@dataclass
class Refusals:
    """Takes refused rows, counts them and writes them to `path` as CSV; without any there is no file."""

    skip: Skip
    path: Path
    rows: int = 0
    """Rows that were looked at."""
    counts: Counter[tuple[Table, Reason]] = field(default_factory=Counter)
    firsts: dict[tuple[Table, Reason], str] = field(default_factory=dict)
    """What the first of them was."""
    _writer: csv.CSVWriter | None = None

    def refuse(self, reason: Reason, problem: Problem, table: Table, rows: np.ndarray, values: pa.Array) -> None:
        """Leave rows out: of the file that `problem` names, with these values in its column."""
        if self._writer is None:
            self._writer = csv.CSVWriter(str(self.path), _FILE)
        count = len(rows)
        same = [pa.repeat(pa.scalar(text, pa.string()), count) for text in (problem.file, reason, problem.column)]
        columns = [pa.repeat(table, count), same[0], pa.array(rows, pa.int64()), same[1], same[2], _text(values)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_FILE))
        if (table, reason) not in self.firsts:
            first = f"row {int(rows[0]):,} of {problem.file}"
            value = shown(values[0]) if values[0].is_valid or problem.column else ""
            self.firsts[table, reason] = f"{first}: {problem.column or ''} {value}".replace("  ", " ").strip(": ")
        self.counts[table, reason] += count
        limit = self.skip.limit
        if limit.rows is not None and limit.passed(self.counts.total(), self.rows):
            self._too_many()

    def unreadable(self, refusal: Refusal, table: Table, row: int) -> None:
        """Leave a row out that is none, or stop at it.

        Raises:
            DataError: Such rows are not to be left out.
        """
        if Reason.UNREADABLE not in self.skip.reasons:
            raise DataError(f"{refusal}; --skip unreadable leaves such rows out")
        self.rows += 1
        place = "" if refusal.line is None else f"line {refusal.line}: "
        problem = Problem(Kind.UNREADABLE, refusal.file, refusal.reason, refusal.column)
        self.refuse(Reason.UNREADABLE, problem, table, np.array([row]), pa.array([f"{place}{refusal.reason}"]))

    def close(self) -> None:
        """Finish the file.

        Raises:
            DataError: More rows were refused than may be.
        """
        if self._writer is not None:
            self._writer.close()
        if self.skip.limit.passed(self.counts.total(), self.rows):
            self._too_many()

    def summary(self) -> str:
        """What was refused and why, in a line."""
        return "; ".join(
            f"{count:,} {reason} ({self.firsts[table, reason]})" for (table, reason), count in self.counts.most_common()
        )

    def _too_many(self) -> None:
        raise DataError(
            f"{self.counts.total():,} of {self.rows:,} rows were refused, more than --skip-limit "
            f"{self.skip.limit} allows: {self.summary()}; correct the rows or what is said of them, or raise the limit"
        )


def _text(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([shown(value) for value in values], pa.string())
