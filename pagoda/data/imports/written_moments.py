"""Moments in text that is written otherwise than ISO 8601, in the words of strptime."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_SHORT = {"%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%T": "%H:%M:%S", "%R": "%H:%M"}
_ZONE = r"\s*(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_DAY = "[0-9]{1,2}"
_TEXT = {
    "%Y": "[0-9]{4}",
    "%b": "[A-Za-z]+",
    "%B": "[A-Za-z]+",
    "%a": "[A-Za-z]+",
    "%A": "[A-Za-z]+",
    "%p": "[A-Za-z]+",
}


def read_moments(text: pa.Array, written: str) -> pa.Array:
    """Timestamps in microseconds, null where the text is written otherwise; in UTC if `written` has a zone (%z).

    Arrow takes the 30th of February for the 2nd of March, so days that a month does not have are looked for by
    comparing what is written with what came of it.
    """
    for short, long in _SHORT.items():
        written = written.replace(short, long)
    moments = pc.strptime(text, format=written, unit="us", error_is_null=True)
    day = re.compile(r"%[de]")
    if not day.search(written):
        return moments
    here, bare = text, written
    if "%z" in written:
        before, _, after = written.partition("%z")
        before = before.rstrip()
        parts = rf"^({_pattern(before, _DAY)}){_ZONE}({_pattern(after, _DAY)})$"
        here, bare = pc.replace_substring_regex(text, parts, r"\1\2"), before + after
    days = pc.struct_field(pc.extract_regex(here, f"^{_pattern(bare, f'(?P<day>{_DAY})')}$"), "day").cast(pa.int64())
    local = pc.strptime(here, format=bare, unit="us", error_is_null=True)
    there = pc.equal(pc.day(local), days).fill_null(False)
    return pc.if_else(there, moments, pa.scalar(None, moments.type))


def _pattern(written: str, day: str) -> str:
    """A regular expression of text that is written so; `day`: that of the day of the month."""
    parts = []
    for part in re.split(r"(%.)", written):
        if part in ("%d", "%e"):
            parts.append(rf"\s*{day}")
        elif part.startswith("%"):
            parts.append(_TEXT.get(part, "[0-9]{1,2}"))
        else:
            parts.append(re.sub(r"\\? ", r"\\s*", re.escape(part)))
    return "".join(parts)
