"""How a column's moments are written, if it holds any."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.imports.written_moments import read_moments

_FROM, _TO = 631_152_000, int(time.time()) + 86_400
"""Seconds that a log's moments lie between: 1990, and tomorrow."""
_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?"
_ZONED = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_DAYS = (
    "%Y%m%d", "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%Y/%m/%d",
    "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y",
)  # fmt: skip
_ZONED_FORMS = (
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
)  # fmt: skip
_HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_DAY_FIRST = {"%d/%m/%Y": "%m/%d/%Y", "%d-%m-%Y": "%m-%d-%Y", "%d/%m/%y": "%m/%d/%y"}


@dataclass(frozen=True)
class Written:
    """How moments are written: what to say of them."""

    options: tuple[str, ...] = ()
    note: str = ""
    """What should be looked at."""


def how_written(values: pa.Array) -> Written | None:
    """Look at a column without its nulls; None: it holds no moments."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _unzoned() if getattr(kind, "tz", None) is None else Written()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _counted(values.cast(pa.float64()))
    return _in_text(values) if pa.types.is_string(kind) else None


def _in_text(text: pa.Array) -> Written | None:
    if _all(pc.match_substring_regex(text, _ISO + _ZONED)):
        return Written()
    if _all(pc.match_substring_regex(text, _ISO + "$")):
        return _unzoned()
    if _all(pc.match_substring_regex(text, r"^[0-9]+(\.[0-9]*)?$")):
        return _counted(text.cast(pa.float64())) or _formatted(text)
    return _formatted(text)


def _unzoned() -> Written:
    return Written(("--zone", "UTC"), "the moments name no zone: UTC is a guess")


def _counted(numbers: pa.Array) -> Written | None:
    found = pc.min_max(numbers)
    for unit, factor in _UNITS.items():
        if found["min"].as_py() / factor >= _FROM and found["max"].as_py() / factor <= _TO:
            return Written(("--timestamps", unit))
    return None


def _formatted(values: pa.Array) -> Written | None:
    for form in _ZONED_FORMS:
        if _parses(values, form):
            return Written(("--timestamp-format", form, *(() if "%z" in form else ("--zone", "UTC"))))
    for day in _DAYS:
        for hour in _HOURS:
            if not _parses(values, day + hour):
                continue
            month_first = _DAY_FIRST.get(day)
            note = "the moments name no zone: UTC is a guess"
            if month_first is not None and _parses(values, month_first + hour):
                note += f"; no day is above 12, so {month_first} would do as well as {day}"
            return Written(("--timestamp-format", day + hour, "--zone", "UTC"), note)
    return None


def _parses(values: pa.Array, form: str) -> bool:
    try:
        moments = read_moments(values, form).cast(pa.timestamp("s"), safe=False)
    except pa.ArrowInvalid:
        return False
    if moments.null_count:
        return False
    found = pc.min_max(moments.cast(pa.int64()))
    return bool(found["min"].as_py() >= _FROM and found["max"].as_py() <= _TO)


def _all(found: pa.Array) -> bool:
    return bool(pc.all(found).as_py())
