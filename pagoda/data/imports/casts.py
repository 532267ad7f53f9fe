"""From the columns of anyone's files to those of the contract. The first value that does not fit stops the import."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind, Problem, shown
from pagoda.data.layout import TIMESTAMP
from pagoda.errors import ConfigError, DataError

Cast = Callable[[pa.Array], pa.Array]
_NUMBER = pa.decimal128(28, 9)
_WHOLE_NUMBER = r"^(0|-?[1-9]\d{0,18})$"
"""Text that can be read as an integer and written again as it was."""


class TimeUnit(StrEnum):
    """How timestamps are written in a source file."""

    ISO = "iso"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"


_MICROSECONDS = {TimeUnit.SECONDS: 1_000_000, TimeUnit.MILLISECONDS: 1_000, TimeUnit.MICROSECONDS: 1}


class ValueOrigin(NamedTuple):
    """Where raw values come from."""

    file: str
    column: str
    """Its name in the file."""
    first_row: int
    """Row number of the first value, counted from 1."""


@dataclass(frozen=True)
class Conversion:
    """How raw values are to be understood."""

    unit: TimeUnit = TimeUnit.ISO
    zone: str | None = None
    """Zone of timestamps that carry none; without it they are refused."""
    separator: str = "|"
    """Between the values of a list that is written as text."""

    def __post_init__(self) -> None:
        if self.zone is not None and self.zone not in zoneinfo.available_timezones():
            raise ConfigError(f"zone {self.zone!r} is unknown; a zone is called UTC or Europe/Berlin, say")

    def column(self, raw: pa.Array, field: pa.Field, place: ValueOrigin) -> pa.Array:
        """`raw`, which lies at `place`, as the type of `field`.

        Raises:
            DataError: A value does not fit; the message names file, column, row and value.
        """
        raw = _plain(raw)
        cast = self._cast(raw.type, field.type)
        try:
            return cast(raw)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            row = _first_bad(raw, cast)
            kind, message = self._explain(field, raw.type, raw[row])
            problem = Problem(kind, place.file, message, place.column, place.first_row + row, shown(raw[row]))
            raise DataError(str(problem)) from error

    def _cast(self, given: pa.DataType, wanted: pa.DataType) -> Cast:
        if pa.types.is_list(given) and not pa.types.is_list(wanted):
            cast = self._cast(given.value_type, wanted)
            return lambda raw: cast(_only_values(raw))
        if wanted == TIMESTAMP:
            return self._timestamps
        if pa.types.is_list(wanted) and pa.types.is_string(given):
            return lambda raw: pc.split_pattern(raw, self.separator).cast(wanted, safe=False)
        if pa.types.is_integer(wanted) and pa.types.is_string(given):
            return _whole_numbers
        # A float may lose digits of an integer or of a wider float; an ID may not.
        return lambda raw: raw.cast(wanted, safe=not _holds_floats(wanted))

    def _timestamps(self, raw: pa.Array) -> pa.Array:
        if pa.types.is_timestamp(raw.type):
            return self._zoned(raw).cast(TIMESTAMP, safe=False)
        if self.unit is not TimeUnit.ISO:
            return self._counted(raw, _MICROSECONDS[self.unit]).cast(TIMESTAMP)
        if not pa.types.is_string(raw.type):
            raise pa.ArrowInvalid("a number where text is expected")
        return self._parsed(raw).cast(TIMESTAMP, safe=False)

    def _counted(self, raw: pa.Array, factor: int) -> pa.Array:
        """Microseconds since 1970, as int64."""
        if pa.types.is_integer(raw.type):
            return pc.multiply_checked(raw.cast(pa.int64()), factor)
        # Decimals, since binary fractions of a second would lose microseconds.
        scaled = pc.multiply_checked(raw.cast(_NUMBER), pa.scalar(Decimal(factor), pa.decimal128(7)))
        return pc.round(scaled).cast(pa.int64(), safe=False)

    def _parsed(self, raw: pa.Array) -> pa.Array:
        if self.zone is None:
            return _moments(raw, "UTC")
        with_zone = pc.match_substring_regex(raw, r"(?i)[T ].*(Z|[+-]\d\d(:?\d\d)?)$")
        zoned = _moments(pc.if_else(with_zone, raw, None), "UTC").cast(TIMESTAMP, safe=False)
        bare = self._zoned(_moments(pc.if_else(with_zone, None, raw), None))
        return pc.coalesce(zoned, bare.cast(TIMESTAMP, safe=False))

    def _zoned(self, moments: pa.Array) -> pa.Array:
        if moments.type.tz is not None:
            return moments
        if self.zone is None:
            raise pa.ArrowInvalid("expected a zone offset")
        return pc.assume_timezone(moments, self.zone, ambiguous="earliest", nonexistent="earliest")

    def _explain(self, field: pa.Field, given: pa.DataType, value: pa.Scalar) -> tuple[Kind, str]:
        if field.type != TIMESTAMP:
            hint = "; text IDs need id_type: string (--id-type string)" if field.name in ("user_id", "item_id") else ""
            return Kind.DTYPE, f"cannot be read as {field.type} (the file has {given}){hint}"
        if _is_moment(value):
            return (
                Kind.NO_ZONE,
                "the timestamp has no zone; add one (…Z, …+01:00) or say which by --zone, such as UTC",
            )
        if self.unit is TimeUnit.ISO:
            message = "not an ISO timestamp; for numbers say --timestamps seconds, milliseconds or microseconds"
            return Kind.TIMESTAMP, message
        return Kind.TIMESTAMP, f"not a number of {self.unit.value} since 1970 that a timestamp can hold"


def _only_values(lists: pa.Array) -> pa.Array:
    """The values of lists of one, null for those of none: TFRecord has nothing but lists."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    if (lengths > 1).any():
        raise pa.ArrowInvalid("several values where one is expected")
    places = pa.array(np.cumsum(lengths) - 1, mask=lengths == 0)
    return lists.flatten().take(places)


def _whole_numbers(text: pa.Array) -> pa.Array:
    """IDs as int64. Arrow also reads 007 as 7 and 0x10 as 16, so that two IDs of the files would become one."""
    if pc.any(pc.invert(pc.match_substring_regex(text, _WHOLE_NUMBER))).as_py():
        raise pa.ArrowInvalid("not a whole number as it is written out")
    return text.cast(pa.int64())


def _moments(text: pa.Array, zone: str | None) -> pa.Array:
    """ISO text as timestamps: up to nine decimals, or in years far away up to six."""
    try:
        return text.cast(pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:
        return text.cast(pa.timestamp("ns", tz=zone))


def _is_moment(value: pa.Scalar) -> bool:
    """Whether only the zone is missing."""
    if pa.types.is_timestamp(value.type):
        return bool(value.type.tz is None)
    try:
        return bool(pa.types.is_string(value.type) and value.cast(pa.timestamp("ns")).is_valid)
    except pa.ArrowInvalid:
        return False


def _plain(raw: pa.Array) -> pa.Array:
    """Text as plain strings, whatever its encoding."""
    decoded = raw.dictionary_decode() if pa.types.is_dictionary(raw.type) else raw
    return decoded.cast(pa.string()) if pa.types.is_large_string(decoded.type) else decoded


def _holds_floats(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind))


def _first_bad(raw: pa.Array, cast: Cast) -> int:
    """Position of the first value that `cast` refuses, found by halving."""
    start, end = 0, len(raw)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            cast(raw.slice(start, middle - start))
            start = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            end = middle
    return start
