"""The grammar of one CSV file: where a row ends, and what is none.

It is RFC 4180's, with two things that files of the field have and that leave no doubt where a value ends: a quote
inside a value that does not begin with one is a character, and a delimiter may be several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_SHOWN_BYTES = 40


@dataclass(frozen=True)
class CsvGrammar:
    """Delimiter, quote and end of line, in UTF-8."""

    delimiter: bytes
    quote: bytes | None
    """One byte; None: quotes are characters like any other."""
    end: bytes = b"\n"
    """Of a line: `\\n`, before which `\\r` may stand, or `\\r` alone, as first seen in the file."""

    def clean_end(self, text: bytes) -> int | None:
        """Where the last whole row of `text`, which begins with a row, ends.

        None: there is something that only a look at each row can tell.
        """
        end = text.rfind(self.end) + 1
        if b"\0" in text or self._has_stray_ends(text, end):
            return None
        if self.quote is None or self.quote not in text:
            return end
        return self._quoted_end(text, self.quote) if len(self.delimiter) == 1 else None

    def row_end(self, text: bytes, start: int) -> int | None:
        """Where the row at `start` ends, its end of line included; None: it does not, or is no row."""
        found = self._row.match(text, start)
        return None if found is None else found.end()

    def is_open(self, text: bytes, start: int) -> bool:
        """Whether more text may make what begins at `start` a row."""
        return self._open.match(text, start) is not None

    def first_bad(self, text: bytes, start: int) -> int:
        """Where the first value that is none begins, in a row that is none."""
        found = self._values.match(text, start)
        return start if found is None else found.end()

    def explain(self, text: bytes, start: int) -> str:
        """What is wrong with the value at `start`, and what to do."""
        remedy = "; close the quote, double a quote inside a value, or say --quote none if quotes are characters"
        if self.quote is None or not text.startswith(self.quote, start):
            return "a line end of another kind than the file's (\\r, \\n) inside a value; quote the value or remove it"
        found = self._quoted.match(text, start)
        if found is None:
            return f"the quote that opens before {_shown(text, start + 1)} is not closed{remedy}"
        wanted = f"where a delimiter {self.delimiter.decode()!r} or the end of the line must be"
        return f"after the closing quote comes {_shown(text, found.end())}, {wanted}{remedy}"

    def split(self, row: bytes) -> list[bytes]:
        """The values of a row, given with its end of line, without their quotes."""
        values = [found[1] for found in self._value.finditer(row)]
        if self.quote is None:
            return values
        quote = self.quote
        return [v[1:-1].replace(quote * 2, quote) if v.startswith(quote) else v for v in values]

    def with_delimiter(self, text: bytes, delimiter: bytes) -> bytes:
        """Whole rows with another delimiter, which occurs nowhere in them."""
        if self.quote is None or self.quote not in text:
            return text.replace(self.delimiter, delimiter)
        return self._value.sub(lambda m: m[1] + (delimiter if m[2] == self.delimiter else m[2]), text)

    def _has_stray_ends(self, text: bytes, end: int) -> bool:
        if self.end == b"\r":
            return text.find(b"\n", 0, end) >= 0
        return text.find(b"\r", 0, end) >= 0 and text.count(b"\r", 0, end) != text.count(b"\r\n", 0, end)

    def _quoted_end(self, text: bytes, quote: bytes) -> int | None:
        """As `clean_end`, of text with quotes where RFC 4180 has them: every other one opens a value."""
        view = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(view == quote[0])
        last = text.rfind(self.end)
        before = int(np.searchsorted(quotes, last))
        if before % 2:  # That end of line is inside a value, which the quote before it opens.
            last = text.rfind(self.end, 0, int(quotes[before - 1]))
            before = int(np.searchsorted(quotes, last))
        if last < 0:
            return 0
        opening, closing = quotes[0:before:2], quotes[1:before:2]
        if len(opening) != len(closing):
            return None
        beside = np.zeros(256, bool)
        beside[[self.delimiter[0], self.end[0], quote[0]]] = True  # A quote beside a quote stands for one.
        left = beside[view[opening - 1]] | (opening == 0)
        beside[ord("\r")] = True
        return last + 1 if left.all() and beside[view[closing + 1]].all() else None

    @cached_property
    def _parts(self) -> dict[str, str]:
        """Expressions of values (in quotes, with a quote that is not closed), the delimiter, a line's end."""
        delimiter = re.escape(self.delimiter.decode("latin-1"))
        value = rf"[^\r\n{delimiter}]*+" if len(self.delimiter) == 1 else rf"(?:(?!{delimiter})[^\r\n])*"
        quoted = unclosed = "(?!)"
        if self.quote is not None:
            q = re.escape(self.quote.decode())
            unclosed = f"{q}[^{q}]*+(?:{q}{q}[^{q}]*+)*"
            quoted = f"{unclosed}{q}(?!{q})"
            value = f"(?:{quoted}|(?!{q}){value})"
        parts = {"value": value, "quoted": quoted, "unclosed": unclosed, "delimiter": delimiter}
        # What may follow a value where a chunk ends in the middle of a delimiter or of a line's end.
        starts = [re.escape(self.delimiter[:length].decode("latin-1")) for length in range(1, len(self.delimiter))]
        torn = f"(?:{'|'.join([chr(13), *starts])})?"
        return parts | {"end": r"\r?\n" if self.end == b"\n" else r"\r", "torn": torn}

    def _expression(self, form: str) -> re.Pattern[bytes]:
        return re.compile(form.format(**self._parts).encode("latin-1"))

    @cached_property
    def _quoted(self) -> re.Pattern[bytes]:
        return self._expression("{quoted}")

    @cached_property
    def _value(self) -> re.Pattern[bytes]:
        return self._expression("({value})({delimiter}|{end})")

    @cached_property
    def _values(self) -> re.Pattern[bytes]:
        return self._expression("(?:{value}{delimiter})*")

    @cached_property
    def _row(self) -> re.Pattern[bytes]:
        return self._expression("{value}(?:{delimiter}{value})*{end}")

    @cached_property
    def _open(self) -> re.Pattern[bytes]:
        return self._expression(r"(?:{value}{delimiter})*(?:{value}{torn}|{unclosed})\Z")


def _shown(text: bytes, start: int) -> str:
    return repr(text[start : start + _SHOWN_BYTES].splitlines()[0].decode(errors="replace"))
