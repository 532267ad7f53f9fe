"""The text of a CSV file as pieces of whole rows, and the rows that are none."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from pagoda.data.imports.readers.csv_grammar import CsvGrammar
from pagoda.data.imports.readers.refusals import Refusal, raise_refusal
from pagoda.data.imports.readers.text_files import LONGEST_ROW_BYTES

NUL = "a NUL byte, which no text has; remove it, or name the file's encoding (--encoding utf-16, say)"


@dataclass(frozen=True)
class Rows:
    """Whole rows, one after the other."""

    text: bytes
    line: int
    """Of the first."""


@dataclass
class RowCutter:
    """Cuts the text of `file`, which begins at `line`, into whole rows."""

    file: str
    grammar: CsvGrammar
    line: int

    def cut(self, chunks: Iterator[bytes]) -> Iterator[Rows | Refusal]:
        """All rows of the chunks, in order."""
        rest = b""
        for chunk in chunks:
            text = rest + chunk
            end = self.grammar.clean_end(text)
            if end is None:
                end = yield from self._look_at_each(text, last=False)
            elif end:
                yield self._rows(text, 0, end)
            rest = text[end:]
            if len(rest) > LONGEST_ROW_BYTES:
                end = yield from self._look_at_each(rest, last=True)
                if not end:
                    reason = f"longer than {LONGEST_ROW_BYTES >> 20} MiB; is this CSV?"
                    raise_refusal(Refusal(self.file, reason, self.line))
                rest = rest[end:]
        if rest:
            yield from self._look_at_each(
                rest if rest.endswith(self.grammar.end) else rest + self.grammar.end, last=True
            )

    def _look_at_each(self, text: bytes, *, last: bool) -> Generator[Rows | Refusal, None, int]:
        """Go through the rows one by one; return where the first one begins that may go on in the text that follows.

        After a row that is none, the next one begins in the next line: what of it is lost is one line of the file.
        """
        start = at = 0
        while at < len(text):
            end = self.grammar.row_end(text, at)
            if end is None:
                line_end = text.find(self.grammar.end, at) + 1
                if not line_end or (not last and self.grammar.is_open(text, at)):
                    break
                bad = self.grammar.first_bad(text, at)
                reason = self.grammar.explain(text, bad)
            else:
                bad = text.find(b"\0", at, end)
                if bad < 0:
                    at = end
                    continue
                line_end = end
                reason = NUL
            if at > start:
                yield self._rows(text, start, at)
            yield Refusal(self.file, reason, self.line + text.count(self.grammar.end, at, bad))
            self.line += text.count(self.grammar.end, at, line_end)
            start = at = line_end
        if at > start:
            yield self._rows(text, start, at)
        return at

    def _rows(self, text: bytes, start: int, end: int) -> Rows:
        rows = Rows(text[start:end], self.line)
        # Faster than `count` where lines are short.
        self.line += int(np.count_nonzero(np.frombuffer(rows.text, np.uint8) == self.grammar.end[0]))
        return rows
