"""Anyone's files of a table as checked batches in the contract's columns, bad rows marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind, Problem, Strict
from pagoda.data.checks.values import check_values
from pagoda.data.imports.casts import NO_IDS, Conversion, Converted
from pagoda.data.imports.columns import ColumnNames
from pagoda.data.imports.readers import Refusal
from pagoda.data.imports.rows.refusals import Reason, Refusals
from pagoda.data.imports.rows.rules import RowRules
from pagoda.data.imports.rows.sifted_rows import SiftedRows
from pagoda.data.imports.sources.base import SourceReader
from pagoda.data.layout import Table, optional_columns, schema_of
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError

_SINK = Strict()
_RATING = pa.field("rating", pa.float64())
_QUANTITY = pa.field("quantity", pa.float64())
_ORDER = pa.field("order", pa.int64())


@dataclass
class Noticed:
    """What nothing is wrong with, and yet is worth a word."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Column → file, of columns that no feature declares."""
    passed_over: list[str] = field(default_factory=list)
    """Files of the folders that were read whose names have no ending of the format."""
    dropped: int = 0
    """Interactions whose event becomes none."""
    null_words: dict[str, str] = field(default_factory=dict)
    """Column → a word for a missing value that is one of its IDs."""
    float_ids: dict[str, str] = field(default_factory=dict)
    """Column → an ID such as 17850.0."""


@dataclass(frozen=True)
class Extras:
    """What interactions say beside the contract, by row."""

    likes: np.ndarray | None = None
    """Which ratings are likes, bool [n]."""
    order: pa.Array | None = None
    items: pa.RecordBatch | None = None
    """The items' rows."""


@dataclass(frozen=True)
class TableReader:
    """Reads tables as one import has them."""

    reader_of: Callable[[Table], SourceReader]
    spec: FeatureSpec
    names: ColumnNames
    conversion: Conversion
    rules: RowRules
    default_event: str
    refusals: Refusals
    declared_in: Path | None = None
    """The feature file; without one, columns that it does not name are left out."""
    noticed: Noticed = field(default_factory=Noticed)

    def read(self, table: Table, source: Any) -> Iterator[tuple[SiftedRows, Extras]]:
        """All parts of a source."""
        reader = self.reader_of(table)
        self.noticed.passed_over += map(str, reader.passed_over(source))
        for path in reader.parts(source):
            used, beside = self._columns(table, path)
            place = _Place(str(path))

            def refuse(refusal: Refusal, place: _Place = place) -> None:
                self.refusals.unreadable(refusal, table, place.row)
                place.row += 1

            for raw in reader.batches(path, list(dict.fromkeys([*used.values(), *beside])), refuse):
                self.refusals.rows += raw.num_rows
                yield _Batch(self, table, place, raw, used).checked()
                place.row += raw.num_rows

    def schema(self, table: Table) -> pa.Schema:
        """The columns that are read: of interactions without timestamps, all but these."""
        schema = schema_of(self.spec, table)
        if table == "interactions" and self.rules.untimed:
            return schema.remove(schema.get_field_index("timestamp"))
        return schema

    def quantity(self, given: list[str]) -> str | None:
        """The column of quantities. Whoever leaves returns out need not name one that is called so."""
        skipped = self.rules.skip.reasons
        if self.rules.quantity is None and Reason.RETURNS in skipped and _QUANTITY.name in given:
            return str(_QUANTITY.name)
        if self.rules.quantity is None and Reason.RETURNS in skipped and skipped != frozenset(Reason):
            raise ConfigError(f"--skip returns needs --quantity-column; the columns are {given}")
        return self.rules.quantity

    def _columns(self, table: Table, path: Any) -> tuple[dict[str, str], list[str]]:
        """Pagoda's names → the file's, and the file's names of columns beside these."""
        given = self.reader_of(table).names(path)
        beside = []
        if table == "interactions":
            quantity = self.quantity(given)
            beside = [*self.rules.extra_columns(), *([] if quantity is None else [quantity])]
        for name in beside:
            if name not in given:
                message = f"the column is missing; the file has {given}"
                _SINK.add(Problem(Kind.MISSING_COLUMN, str(path), message, name))
        optional = ("event", *optional_columns(self.spec, table))
        used = self.names.find(given, self.schema(table).names, str(path), optional)
        if table == "interactions" and self.rules.events and "event" not in used:
            raise ConfigError(f"--map-event: {path} has no column of events, but {given}; name it by --event-column")
        for name in self.names.left_over(given, used, beside):
            if self.declared_in is not None and not self.names.drop_others:
                message = (
                    f"{self.declared_in} declares no such feature; declare it, or leave the column out by --drop "
                    "(--drop-others: all such columns)"
                )
                _SINK.add(Problem(Kind.EXTRA_COLUMN, str(path), message, name))
            self.noticed.left_out[name] = str(path)
        return used, beside


@dataclass
class _Place:
    """How far a file was read."""

    file: str
    row: int = 1
    """The next row."""


class _Batch:
    """One raw batch on its way."""

    def __init__(
        self, reader: TableReader, table: Table, place: _Place, raw: pa.RecordBatch, used: dict[str, str]
    ) -> None:
        self._reader, self._table, self._raw, self._used = reader, table, raw, used
        self._file, self._first_row = place.file, place.row
        self._misfits: list[tuple[pa.Field, str, Converted]] = []

    def checked(self) -> tuple[SiftedRows, Extras]:
        schema = self._reader.schema(self._table)
        out = np.zeros(self._raw.num_rows, bool)
        arrays = [self._array(wanted, out) for wanted in schema]
        extras = self._extras(arrays[1]) if self._table == "interactions" else Extras()
        rows = self._sifted(pa.RecordBatch.from_arrays(arrays, schema=schema), out)
        for wanted, column, found in self._misfits:
            self._refuse(rows, wanted, column, found)
        self._refuse_returns(rows)
        check_values(rows, self._reader.spec, self._table)
        if extras.order is not None:
            message = "without timestamps, every interaction needs its place in the order"
            rows.refuse(Kind.NULL, str(self._reader.rules.order), _mask(extras.order.is_null()), message, extras.order)
        if extras.items is not None:
            check_values(self._sifted(extras.items, out), self._reader.spec, "items")
        self._notice(rows)
        return rows, extras

    def _sifted(self, batch: pa.RecordBatch, out: np.ndarray) -> SiftedRows:
        names = {**self._used, **self._reader.rules.items_from_log}
        return SiftedRows(
            batch, self._file, self._first_row, _SINK, names,
            refusals=self._reader.refusals, table=self._table, out=out,
        )  # fmt: skip

    def _array(self, wanted: pa.Field, out: np.ndarray) -> pa.Array:
        """A column of the contract; `out` is set where its event becomes none."""
        if wanted.name not in self._used and wanted.name != "event":
            return pa.nulls(self._raw.num_rows, wanted.type)
        if wanted.name not in self._used:
            return pa.repeat(self._reader.default_event, self._raw.num_rows)
        if wanted.name == "event" and self._reader.rules.events:
            return self._mapped_events(out)
        return self._convert(wanted, self._used[wanted.name])

    def _convert(self, wanted: pa.Field, column: str) -> pa.Array:
        # Where nothing is left out, the first value that does not fit ends the import.
        strict = not self._reader.refusals.skip.reasons and not self._reader.rules.events
        found = self._reader.conversion.column(self._given(wanted, column), wanted, first_only=strict)
        if found.bad is not None:
            self._misfits.append((wanted, column, found))
        return found.values

    def _given(self, wanted: pa.Field, column: str) -> pa.Array:
        """What the file has; of a date with a time of day beside it both, as one text."""
        clock = self._reader.rules.time_of_day
        if wanted.name != "timestamp" or clock is None:
            return self._raw.column(column)
        date, time = (self._reader.conversion.plain(self._raw.column(one)).cast(pa.string()) for one in (column, clock))
        return pc.binary_join_element_wise(date, time, " ")

    def _mapped_events(self, out: np.ndarray) -> pa.Array:
        events = self._convert(pa.field("event", pa.string()), self._used["event"])
        mapping = self._reader.rules.events
        place = pc.index_in(events, pa.array(list(mapping), pa.string()))
        mapped = pc.coalesce(pa.array(list(mapping.values()), pa.string()).take(place), events)
        dropped = _mask(pc.and_(pc.equal(mapped, ""), place.is_valid()))
        out |= dropped
        self._reader.noticed.dropped += int(dropped.sum())
        return mapped

    def _extras(self, items: pa.Array) -> Extras:
        rules = self._reader.rules
        likes = None
        if rules.ratings is not None:
            ratings = self._convert(_RATING, rules.ratings.column)
            likes = _mask(pc.greater_equal(ratings, rules.ratings.like_from))
        order = None if rules.order is None else self._convert(_ORDER, rules.order)
        if not rules.items_from_log:
            return Extras(likes, order)
        schema = schema_of(self._reader.spec, "items")
        columns = [self._convert(schema.field(name), rules.items_from_log[name]) for name in schema.names[1:]]
        return Extras(likes, order, pa.RecordBatch.from_arrays([items, *columns], schema=schema))

    def _refuse(self, rows: SiftedRows, wanted: pa.Field, column: str, found: Converted) -> None:
        """Refuse what could not be converted; a missing value is then no further problem of the row."""
        bad = found.bad
        if bad is None or not (bad & ~rows.out).any():
            return
        value = found.raw[int(np.argmax(bad & ~rows.out))]
        kind, message = self._reader.conversion.explain(wanted, value)
        name = wanted.name if self._used.get(wanted.name) == column else column
        rows.refuse(kind, name, bad, message, found.raw)

    def _refuse_returns(self, rows: SiftedRows) -> None:
        if self._table != "interactions":
            return
        column = self._reader.quantity(self._raw.schema.names)
        if column is None:
            return
        found = self._reader.conversion.column(self._raw.column(column), _QUANTITY, first_only=False)
        self._refuse(rows, _QUANTITY, column, found)
        returned = _mask(pc.less(found.values, 0))
        rows.refuse(Kind.RETURN, column, returned, "fewer than none were bought: a return is no purchase", found.raw)

    def _notice(self, rows: SiftedRows) -> None:
        """Words for missing values among IDs, and IDs that were floats once."""
        if self._reader.spec.id_type != "string":
            return
        for name in ("user_id", "item_id"):
            if name in rows.batch.schema.names and name not in self._reader.noticed.null_words:
                self._notice_ids(rows.keys(name), name, self._used[name])

    def _notice_ids(self, keys: pa.Array, name: str, column: str) -> None:
        noticed = self._reader.noticed
        short = keys.filter(pc.less(pc.binary_length(keys), 10))
        words = short.filter(pc.is_in(pc.utf8_lower(short), pa.array(NO_IDS)))
        if len(words):
            noticed.null_words[name] = f"{column!r} has {words[0].as_py()!r} as an ID"
        if self._first_row == 1 and len(keys) and pc.all(pc.match_substring_regex(keys, r"^[0-9]+\.0$")).as_py():
            noticed.float_ids[column] = keys.drop_null()[0].as_py()


def _mask(found: pa.Array) -> np.ndarray:
    mask: np.ndarray = found.fill_null(False).to_numpy(zero_copy_only=False)
    return mask
