"""How the values of a text stand beside each other: what is between them, and what around."""

from __future__ import annotations

import csv
from io import StringIO
from itertools import islice

from pagoda.data.imports.readers import Refusal
from pagoda.data.imports.readers.csv_grammar import CsvGrammar
from pagoda.data.imports.readers.csv_rows import RowCutter

_DELIMITERS = ("::", "\t", ";", "|", ",", "\x01")
_LAST_DELIMITER = " "
"""Where no other parts anything: names and moments have spaces, too."""
_LOOKED_AT = 200


def delimiter_of(text: str) -> str:
    """What parts most of the first lines into as many values."""
    delimiter = max(_DELIMITERS, key=lambda one: _regularity(text, one))
    return delimiter if _regularity(text, delimiter)[0] else _LAST_DELIMITER


def quote_of(text: str, delimiter: str) -> str | None:
    """None: quotes are characters, since values begin with one that do not end so, as names of songs do."""
    if '"' not in text:
        return '"'
    grammar = CsvGrammar(delimiter.encode(), b'"', b"\n" if "\n" in text else b"\r")
    if not any(isinstance(found, Refusal) for found in RowCutter("", grammar, 1).cut(iter([text.encode()]))):
        return '"'
    rows = rows_of(text, delimiter, _LOOKED_AT, None)
    around = sum(any(len(one) > 1 and one[0] == one[-1] == '"' for one in row) for row in rows)
    return None if len(set(map(len, rows))) == 1 and around < len(rows) / 2 else '"'


def rows_of(text: str, delimiter: str, most: int, quote: str | None = '"') -> list[list[str]]:
    """The values of the first lines, as far as they are CSV."""
    if len(delimiter) > 1:
        return [line.rstrip("\r\n").split(delimiter) for line in islice(StringIO(text, newline=""), most)]
    rows = []
    try:
        around = csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL
        for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter, quoting=around):  # type: ignore[arg-type]
            rows.append(row)
            if len(rows) == most:
                break
    except csv.Error:
        pass  # rows up to here are enough to look at
    return rows


def _regularity(text: str, delimiter: str) -> tuple[float, int]:
    """How many of the first lines have as many columns as most have, and how many these are."""
    counts = [len(row) for row in rows_of(text, delimiter, _LOOKED_AT)]
    usual = max(set(counts), key=counts.count, default=1)
    return (counts.count(usual) / len(counts), usual) if usual > 1 else (0.0, 1)
