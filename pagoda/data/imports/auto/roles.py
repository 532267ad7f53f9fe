"""Which column of a log is the user, the item, the event, the moment: by its name, else by what is in it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.imports.auto.moments import Written, how_written
from pagoda.data.imports.auto.samples import Sample
from pagoda.data.imports.auto.words import COLUMNS, event_of, plain
from pagoda.data.imports.casts import NO_IDS
from pagoda.errors import DataError

_CLOCK = r"^[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( [APap][Mm])?$"
_MOST_EVENTS = 20
_BEST_RATING = 100
_MOST_RATINGS = 21
_MOST_ROWS = 0.5


class Roles:
    """Role → column of a sample. A column has one role."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self.columns: dict[str, str] = {}
        self.written = Written()
        """How the moments are written."""
        self.notes: list[str] = []
        """What was guessed and should be looked at."""

    @classmethod
    def of(cls, sample: Sample) -> Roles:
        """Find the roles of an interaction log.

        Raises:
            DataError: There is no telling which column is the user or the item.
        """
        roles = cls(sample)
        roles._find_timestamp()
        for role in ("event", "rating", "quantity", "user", "item"):
            roles._find(role)
        for role in ("user", "item"):
            roles._find_ids(role)
        roles._find_order()
        return roles

    def values(self, column: str) -> pa.Array:
        """A column without its nulls."""
        return self._sample.table[column].combine_chunks().drop_null()

    @property
    def free(self) -> list[str]:
        """Columns without a role."""
        return [name for name in self._sample.names if name not in self.columns.values()]

    def _named(self, role: str) -> list[str]:
        """Free columns that are called as the role is, those first whose names say it more surely."""
        words = COLUMNS[role]
        return sorted((one for one in self.free if plain(one) in words), key=lambda one: words.index(plain(one)))

    def _find_timestamp(self) -> None:
        for column in (*self._named("timestamp"), *self.free):
            values = self.values(column)
            written = how_written(values) if len(values) else None
            if written is not None:
                self.columns["timestamp"], self.written = column, written
                self._find_clock(column)
                self.notes += [self.written.note] if self.written.note else []
                return

    def _find_clock(self, dates: str) -> None:
        """A time of day in a column of its own, beside dates that have none."""
        for column in self.free:
            text = self.values(column).cast(pa.string()) if _could_be_clock(self.values(column).type) else None
            if text is None or not len(text) or not pc.all(pc.match_substring_regex(text, _CLOCK)).as_py():
                continue
            both = (self._sample.table[one].combine_chunks().cast(pa.string()) for one in (dates, column))
            written = how_written(pc.binary_join_element_wise(*both, " ").drop_null())
            if written is not None:
                self.columns["clock"], self.written = column, written
                return

    def _find(self, role: str) -> None:
        fits = {"event": self._holds_events, "rating": self._holds_ratings, "quantity": _holds_numbers}.get(role, len)
        named = [column for column in self._named(role) if fits(self.values(column))]
        if role in ("event", "rating") and not self._sample.header:
            named = [column for column in self.free[1:] if fits(self.values(column))]
        if named:
            self.columns[role] = named[0] if role != "user" else self._most_known(named)

    def _most_known(self, named: list[str]) -> str:
        """The first column that says of most rows whose they are: of guests, a shop may know the session alone."""
        found = next((one for one in named if self._known_share(one) >= _MOST_ROWS), named[0])
        if found != named[0]:
            missing = 1 - self._known_share(named[0])
            self.notes.append(f"{missing:.0%} of the rows have no {named[0]!r}: {found!r} was taken for the user")
        return found

    def _known_share(self, column: str) -> float:
        values = self.values(column)
        if pa.types.is_string(values.type):
            values = values.filter(pc.invert(pc.is_in(pc.utf8_lower(values), pa.array(NO_IDS))))
        return float(len(values) / max(1, self._sample.table.num_rows))

    def _holds_events(self, values: pa.Array) -> bool:
        """Few different words; without a name of the column, words that are known."""
        if not pa.types.is_string(values.type):
            return False
        words = pc.unique(values).to_pylist()
        known = [word for word in words if event_of(word) is not None]
        return 0 < len(words) <= _MOST_EVENTS and bool(known) and (self._sample.header or len(known) == len(words))

    def _holds_ratings(self, values: pa.Array) -> bool:
        """Few different numbers. A column that is called so may have some below 0: no rating given, or a bad one."""
        found = numbers(values)
        if found is None or not len(found):
            return False
        span, different = pc.min_max(found), len(pc.unique(found))
        lowest = -_BEST_RATING if self._sample.header else 0
        return bool(
            span["min"].as_py() >= lowest and span["max"].as_py() <= _BEST_RATING and 1 < different <= _MOST_RATINGS
        )

    def _find_ids(self, role: str) -> None:
        """By cardinality: of the columns that could be IDs, the first is the user and the next the item."""
        if role in self.columns:
            return
        likely = [column for column in self.free if _could_be_ids(self.values(column))]
        if not likely:
            raise DataError(
                f"{self._sample.path}: no column of {self._sample.names} looks like that of the {role}; say so by "
                f"`pagoda data import {self._sample.format} DIR --interactions {self._sample.path} --{role}-column …`"
            )
        self.columns[role] = likely[0]
        self.notes.append(f"column {likely[0]!r} was taken for the {role} by what is in it")

    def _find_order(self) -> None:
        if "timestamp" in self.columns:
            return
        named = [column for column in self._named("order") if _holds_numbers(self.values(column))]
        self.columns |= {"order": named[0]} if named else {}
        self.notes.append("there are no moments: they are made up, from the order of the rows or of a column")


def _could_be_clock(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_time(kind))


def _could_be_ids(values: pa.Array) -> bool:
    if not len(values) or pa.types.is_nested(values.type):
        return False
    if pa.types.is_floating(values.type) and not pc.all(pc.equal(pc.floor(values), values)).as_py():
        return False
    return len(pc.unique(values)) > 1


def numbers(values: pa.Array) -> pa.Array | None:
    """A column as float64, with a decimal point or comma; None: it does not hold numbers."""
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return values.cast(pa.float64())
    if not len(values) or not pa.types.is_string(values.type):
        return None
    if not pc.all(pc.match_substring_regex(values, r"^[+-]?[0-9]+([.,][0-9]+)?$")).as_py():
        return None
    return pc.replace_substring(values, ",", ".").cast(pa.float64())


def _holds_numbers(values: pa.Array) -> bool:
    found = numbers(values)
    return found is not None and len(found) > 0
