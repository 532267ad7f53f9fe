"""The beginning of a CSV file: how its lines end, and its first rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pagoda.data.imports.readers.csv_grammar import CsvGrammar
from pagoda.data.imports.readers.csv_rows import NUL
from pagoda.data.imports.readers.refusals import NO_UTF8, Refusal, raise_refusal, shown
from pagoda.data.imports.readers.text_files import LONGEST_ROW_BYTES
from pagoda.errors import DataError

_SAMPLED_ROWS = 20
_ENDS = b"\r\n"


@dataclass(frozen=True)
class CsvHead:
    """What the first rows say of a file."""

    grammar: CsvGrammar
    rows: list[list[str]]
    """The first one, and some that follow it."""
    end: int
    """Of the first row, in bytes from the beginning of the text."""
    line: int
    """That follows the first row."""


def read_head(file: str, chunks: Iterator[bytes], grammar: CsvGrammar) -> CsvHead:
    """Read as much as the first row needs; `grammar` without an end of line.

    Raises:
        DataError: There is none, or it is no row.
    """
    text = b""
    for chunk in chunks:
        text += chunk
        if (found := _first_row(text, grammar)) or len(text) > LONGEST_ROW_BYTES:
            break
    else:
        # The last line may lack its end.
        text += b"\r" if b"\r" in text and b"\n" not in text else b"\n"
        found = _first_row(text + b" ", grammar)
    start = _start(text)
    line = 1 + text.count(b"\n", 0, start)
    if start == len(text):
        raise DataError(f"{file}: empty; a CSV file has a line of column names (or say what they are by --columns)")
    if found is None:
        bad = grammar.first_bad(text, start)
        raise_refusal(Refusal(file, grammar.explain(text, bad), line + text.count(b"\n", start, bad)))
    grammar, end = found
    if b"\0" in text[:end]:
        raise_refusal(Refusal(file, NUL, line))
    after = 1 + text.count(grammar.end, 0, end)
    first, *others = _rows(text, start, grammar)
    sample = [[value.decode(errors="replace") for value in row] for row in others]
    return CsvHead(grammar, [_decoded(first, file, line), *sample], end, after)


def _start(text: bytes) -> int:
    """Where the first row begins, after empty lines."""
    return len(text) - len(text.lstrip(_ENDS))


def _first_row(text: bytes, grammar: CsvGrammar) -> tuple[CsvGrammar, int] | None:
    """The grammar with the end of line that the first row has, and where the row ends."""
    start = _start(text)
    for end in (b"\n", b"\r"):
        known = replace(grammar, end=end)
        found = known.row_end(text, start)
        # After a \r that is the last so far, a \n may follow.
        if found is not None and (end == b"\n" or text[found : found + 1] not in (b"", b"\n")):
            return known, found
    return None


def _rows(text: bytes, start: int, grammar: CsvGrammar) -> Iterator[list[bytes]]:
    for _ in range(_SAMPLED_ROWS):
        end = grammar.row_end(text, start)
        if end is None:
            return
        yield grammar.split(text[start:end])
        start = end


def _decoded(row: list[bytes], file: str, line: int) -> list[str]:
    try:
        return [value.decode() for value in row]
    except UnicodeDecodeError as error:
        raise DataError(f"{file}, line {line:,}: {shown(error.object)}: {NO_UTF8}") from error
