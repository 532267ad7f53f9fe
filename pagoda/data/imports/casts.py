"""From the columns of anyone's files to those of the contract: values that do not fit are found, never bent."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind
from pagoda.data.checks.zones import known_zones
from pagoda.data.ids import WHOLE_NUMBER
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.misfits import Misshapen, find_misfits
from pagoda.data.imports.written_moments import read_moments
from pagoda.data.layout import TIMESTAMP
from pagoda.errors import ConfigError

Cast = Callable[[pa.Array], pa.Array]
"""A cast raises, or gives null for the values that do not fit."""
_IDS = ("user_id", "item_id")
NO_IDS = ("na", "n/a", "nan", "null", "none", "nil", "\\n", "undefined")
"""What programs write for a missing value, in small letters."""
_NUMBER = pa.decimal128(28, 9)
_WHOLE = 1 << 53
"""From here on a float stands for several whole numbers."""
_DECIMAL_TEXT = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:nan|inf|infinity)$"
_COUNT_TEXT = r"^[+-]?[0-9]+(\.[0-9]*)?$"
_ZONE_TEXT = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_MINUTES = "(?::?[0-5][0-9]"
_ISO_TEXT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ](?:[01][0-9]|2[0-3])"
    rf"{_MINUTES}{_MINUTES}(?:\.[0-9]{{1,9}})?)?)?)?"
)
_FLOAT_HINT = "floats above 2^53 and fractions are no IDs, since several IDs become one; write whole numbers or text"
_PANDAS_HINT = (
    "a column of whole numbers that pandas took for floats because values were missing? "
    "write it as whole numbers (astype('Int64')), or say --id-type string (id_type: string)"
)


_MICROSECONDS = {TimeUnit.SECONDS: 1_000_000, TimeUnit.MILLISECONDS: 1_000, TimeUnit.MICROSECONDS: 1}


class Converted(NamedTuple):
    """A column as the contract wants it."""

    values: pa.Array
    """Null where a value does not fit."""
    raw: pa.Array
    """What was given."""
    bad: np.ndarray | None
    """Which values do not fit, bool [n]; None: all fit."""


@dataclass(frozen=True)
class Conversion:
    """How raw values are to be understood."""

    unit: TimeUnit = TimeUnit.ISO
    zone: str | None = None
    """Zone of timestamps that carry none; without it they are refused."""
    separator: str = "|"
    """Between the values of a list that is written as text."""
    time_format: str | None = None
    """Of timestamps in text, in the words of strptime, `%d-%m-%Y`; None: `unit` says how they are written."""
    decimal: str = "."
    """Between the whole and the fraction of a number in text."""
    nulls: tuple[str, ...] = ()
    """Text that stands for a missing value, beside the empty one."""

    def __post_init__(self) -> None:
        if self.zone is not None and self.zone not in known_zones():
            raise ConfigError(f"zone {self.zone!r} is unknown; a zone is called UTC or Europe/Berlin, say")
        if self.decimal not in (".", ","):
            raise ConfigError(f"decimal {self.decimal!r}: must be . or ,")
        if self.time_format is None:
            return
        if self.unit is not TimeUnit.ISO:
            raise ConfigError(
                f"--timestamps {self.unit.value} and --timestamp-format contradict each other; choose one"
            )
        if "%z" not in self.time_format and self.zone is None:
            raise ConfigError(f"--timestamp-format {self.time_format} names no zone; say which by --zone, such as UTC")

    def column(self, raw: pa.Array, field: pa.Field, *, first_only: bool = True) -> Converted:
        """`raw` as the type of `field`. `first_only`: of the values that do not fit, the first one is enough."""
        raw = self.plain(raw)
        if field.name in _IDS and pa.types.is_floating(raw.type):
            raw = pc.if_else(pc.is_nan(raw), pa.scalar(None, raw.type), raw)  # pandas' word for a missing ID
        cast = self._cast_of_one(raw.type, field)
        try:
            values = cast(raw)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            bad = find_misfits(raw, cast, self._misshapen(raw.type, field), first_only=first_only)
            if first_only or bad.all():
                return Converted(pa.nulls(len(raw), field.type), raw, bad)
            return Converted(cast(pc.if_else(pa.array(bad), pa.scalar(None, raw.type), raw)), raw, bad)
        if values.null_count == raw.null_count:
            return Converted(values, raw, None)
        lost = pc.and_(values.is_null(), raw.is_valid()).to_numpy(zero_copy_only=False)
        return Converted(values, raw, lost if lost.any() else None)

    def plain(self, raw: pa.Array) -> pa.Array:
        """Text as plain strings, whatever its encoding, and null where it says so."""
        decoded = raw.dictionary_decode() if pa.types.is_dictionary(raw.type) else raw
        text = decoded.cast(pa.string()) if pa.types.is_large_string(decoded.type) else decoded
        if not self.nulls or not pa.types.is_string(text.type):
            return text
        return pc.if_else(pc.is_in(text, pa.array(self.nulls)), pa.scalar(None, pa.string()), text)

    def explain(self, field: pa.Field, value: pa.Scalar) -> tuple[Kind, str]:
        """What is wrong with a raw value that does not fit, and what to do."""
        if field.type != TIMESTAMP:
            return Kind.DTYPE, f"cannot be read as {field.type} (the file has {value.type}){_hint(field, value)}"
        if self.time_format is not None and pa.types.is_string(value.type):
            return Kind.TIMESTAMP, f"not a moment as --timestamp-format {self.time_format} writes it"
        if _is_moment(value):
            return Kind.NO_ZONE, "the timestamp has no zone; add one (…Z, …+01:00) or say which by --zone, such as UTC"
        if self.unit is TimeUnit.ISO:
            return Kind.TIMESTAMP, (
                "not an ISO timestamp; for numbers say --timestamps seconds, milliseconds or microseconds, "
                "for other text --timestamp-format, such as %d-%m-%Y"
            )
        return Kind.TIMESTAMP, f"not a number of {self.unit.value} since 1970 that a timestamp can hold"

    def _cast_of_one(self, given: pa.DataType, field: pa.Field) -> Cast:
        if not pa.types.is_list(given) or pa.types.is_list(field.type):
            return self._cast(given, field)
        cast = self._cast(given.value_type, field)
        return lambda raw: cast(_only_values(raw))

    def _cast(self, given: pa.DataType, field: pa.Field) -> Cast:
        wanted = field.type
        if wanted == TIMESTAMP:
            return self._timestamps
        if field.name in _IDS and pa.types.is_floating(given):
            return lambda raw: _whole_floats(raw).cast(wanted)
        if pa.types.is_list(wanted) and pa.types.is_string(given):
            return lambda raw: self._lists(raw, wanted)
        if pa.types.is_integer(wanted) and pa.types.is_string(given):
            return _whole_numbers
        if pa.types.is_floating(wanted) and pa.types.is_string(given):
            return lambda raw: self._decimals(raw).cast(wanted)
        # A float may lose digits of an integer or of a wider float; an ID may not.
        return lambda raw: raw.cast(wanted, safe=not _holds_floats(wanted))

    def _misshapen(self, given: pa.DataType, field: pa.Field) -> Misshapen | None:
        """What tells text that never fits by its shape; None: there is no telling."""
        if not pa.types.is_string(given):
            return None
        if pa.types.is_floating(field.type):
            return lambda text: _unlike(text, _DECIMAL_TEXT.replace(r"\.", re.escape(self.decimal)))
        if field.type != TIMESTAMP or self.time_format is not None:
            return None
        if self.unit is not TimeUnit.ISO:
            return lambda text: _unlike(text, _COUNT_TEXT.replace(r"\.", re.escape(self.decimal)))
        return lambda text: _no_iso(text, f"{_ISO_TEXT}{_ZONE_TEXT}{'' if self.zone is None else '?'}$")

    def _lists(self, raw: pa.Array, wanted: pa.DataType) -> pa.Array:
        if _holds_floats(wanted) and self.decimal != ".":
            raw = self._decimals(raw)
        return pc.split_pattern(raw, self.separator).cast(wanted, safe=False)

    def _decimals(self, text: pa.Array) -> pa.Array:
        """Numbers with a point. A point in a number with a decimal comma parts thousands for some: it is refused."""
        if self.decimal == ".":
            return text
        if pc.any(pc.match_substring(text, ".")).as_py():
            raise pa.ArrowInvalid("a point in a number with a decimal comma")
        return pc.replace_substring(text, self.decimal, ".")

    def _timestamps(self, raw: pa.Array) -> pa.Array:
        if pa.types.is_date(raw.type):
            raw = raw.cast(pa.timestamp("s"))
        if pa.types.is_timestamp(raw.type):
            return self._zoned(raw).cast(TIMESTAMP, safe=False)
        if self.unit is not TimeUnit.ISO:
            return self._counted(raw, _MICROSECONDS[self.unit]).cast(TIMESTAMP)
        if not pa.types.is_string(raw.type):
            raise pa.ArrowInvalid("a number where text is expected")
        return (self._parsed(raw) if self.time_format is None else self._formatted(raw)).cast(TIMESTAMP, safe=False)

    def _counted(self, raw: pa.Array, factor: int) -> pa.Array:
        """Microseconds since 1970, as int64."""
        if pa.types.is_integer(raw.type):
            return pc.multiply_checked(raw.cast(pa.int64()), factor)
        if pa.types.is_string(raw.type):
            raw = self._decimals(raw)
        # Decimals, since binary fractions of a second would lose microseconds.
        scaled = pc.multiply_checked(raw.cast(_NUMBER), pa.scalar(Decimal(factor), pa.decimal128(7)))
        return pc.round(scaled).cast(pa.int64(), safe=False)

    def _formatted(self, raw: pa.Array) -> pa.Array:
        """Null where the text is written otherwise."""
        moments = read_moments(raw, str(self.time_format))
        return moments if moments.type.tz is not None else self._zoned(moments)

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


def _hint(field: pa.Field, value: pa.Scalar) -> str:
    if field.name not in _IDS:
        return ""
    if pa.types.is_floating(value.type):
        return f"; {_FLOAT_HINT}"
    text = str(value.as_py())
    if text.lower() in NO_IDS:
        return f"; if it stands for nobody, say --null-value {text} and --skip null-ids"
    if re.fullmatch(r"[0-9]+\.0", text):
        return f"; {_PANDAS_HINT}"
    return "; text IDs need id_type: string (--id-type string)"


def _only_values(lists: pa.Array) -> pa.Array:
    """The values of lists of one, null for those of none: TFRecord has nothing but lists."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    if (lengths > 1).any():
        raise pa.ArrowInvalid("several values where one is expected")
    places = pa.array(np.cumsum(lengths) - 1, mask=lengths == 0)
    return lists.flatten().take(places)


def _unlike(text: pa.Array, shape: str) -> pa.Array:
    return pc.invert(pc.match_substring_regex(text, shape))


def _no_iso(text: pa.Array, shape: str) -> pa.Array:
    """Text of another shape, or with a day that its month does not have."""
    days = read_moments(pc.utf8_slice_codeunits(text, 0, 10), "%Y-%m-%d")
    return pc.and_(text.is_valid(), pc.or_(_unlike(text, shape), days.is_null()))


def _whole_numbers(text: pa.Array) -> pa.Array:
    """IDs as int64, null for others. Arrow also reads 007 as 7 and 0x10 as 16: two IDs would become one."""
    with suppress(pa.ArrowInvalid):
        numbers = text.cast(pa.int64())
        # What Arrow reads is digits alone, unless it begins with 0 (zeros, 0x) or - (arrow/util/value_parsing.h). Only
        # such text is written again, to see whether it comes out as it was: a minus sign and a 0 sort before a 1.
        doubtful = pc.less(text, "1")
        again = numbers.filter(doubtful).cast(pa.string())
        if not pc.any(pc.not_equal(again, text.filter(doubtful))).as_py():
            return numbers
    fits = pc.match_substring_regex(text, f"^({WHOLE_NUMBER})$")
    return pc.if_else(fits, text, pa.scalar(None, pa.string())).cast(pa.int64())


def _whole_floats(floats: pa.Array) -> pa.Array:
    """IDs of a float column as int64, null for those that several whole numbers may stand behind."""
    numbers = floats.cast(pa.float64())
    fits = pc.and_(pc.less(pc.abs(numbers), _WHOLE), pc.equal(pc.floor(numbers), numbers))
    return pc.if_else(fits, numbers, pa.scalar(None, pa.float64())).cast(pa.int64())


def _moments(text: pa.Array, zone: str | None) -> pa.Array:
    """ISO text as timestamps: up to nine decimals, or in years far away up to six."""
    try:
        return text.cast(pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:
        return text.cast(pa.timestamp("ns", tz=zone))


def _is_moment(value: pa.Scalar) -> bool:
    """Whether only the zone is missing."""
    if pa.types.is_timestamp(value.type) or pa.types.is_date(value.type):
        return bool(getattr(value.type, "tz", None) is None)
    try:
        return bool(pa.types.is_string(value.type) and value.cast(pa.timestamp("ns")).is_valid)
    except pa.ArrowInvalid:
        return False


def _holds_floats(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind))
