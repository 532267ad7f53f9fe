"""The values of whole CSV rows as columns of text, read by Arrow."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pagoda.data.imports.readers.csv_grammar import CsvGrammar
from pagoda.data.imports.readers.csv_rows import Rows
from pagoda.data.imports.readers.refusals import NO_UTF8, Read, Refusal, cut_out, shown

_NO_END = re.compile(rb"[^\r\n]")
_UNUSED = bytes([31, 30, 29, 28, *range(1, 9), 11, 12, *range(14, 28)])
"""Bytes of which one that is not in a text can stand for a delimiter of several: Arrow knows only single ones."""


class ValueReader:
    """Reads some `columns` of a file whose columns are called `names`."""

    def __init__(self, file: str, grammar: CsvGrammar, names: list[str], columns: list[str]) -> None:
        self.file = file
        self._grammar = grammar
        self._width = len(names)
        self._columns = columns
        # By position, since names that are not asked for may come twice.
        self._positions = [str(names.index(column)) for column in columns]

    def read(self, rows: Rows) -> list[Read]:
        """The rows as batches, and in their places what is wrong with those that are refused."""
        if not _NO_END.search(rows.text):
            return []
        ragged: dict[int, int] = {}
        table = self._parsed(rows.text, ragged)
        numbers = np.delete(np.arange(table.num_rows + len(ragged)), list(ragged))
        bad: dict[int, tuple[str | None, str]] = {row: (None, self._ragged(width)) for row, width in ragged.items()}
        columns = []
        ascii_only = rows.text.isascii()
        for name, raw in zip(self._columns, table.columns, strict=True):
            text, failed = _as_text(raw.combine_chunks(), ascii_only=ascii_only)
            columns.append(text)
            bad |= {int(numbers[position]): (name, f"value {shown(value)}: {NO_UTF8}") for position, value in failed}
        batch = pa.RecordBatch.from_arrays(columns, names=self._columns)
        if not bad:
            return [batch]
        lines = self._lines(rows)
        refusals = {row: Refusal(self.file, reason, lines[row], column) for row, (column, reason) in bad.items()}
        return list(cut_out(batch, numbers, refusals))

    def _parsed(self, text: bytes, ragged: dict[int, int]) -> pa.Table:
        """The columns as bytes; rows that are too long or too short go to `ragged`: number → width."""

        def refuse(row: csv.InvalidRow) -> str:
            ragged[row.number - 1] = row.actual_columns
            return "skip"

        delimiter, quote = self._grammar.delimiter, self._grammar.quote
        if len(delimiter) > 1:
            stand_in = next(bytes([byte]) for byte in _UNUSED if byte not in text)
            text, delimiter = self._grammar.with_delimiter(text, stand_in), stand_in
        return csv.read_csv(
            pa.BufferReader(text),
            csv.ReadOptions(
                column_names=[str(n) for n in range(self._width)], block_size=len(text) + 1, use_threads=False
            ),
            csv.ParseOptions(
                delimiter=delimiter.decode(),
                quote_char=quote.decode() if quote else False,
                newlines_in_values=True,
                invalid_row_handler=refuse,
            ),
            csv.ConvertOptions(
                include_columns=self._positions,
                column_types=dict.fromkeys(self._positions, pa.binary()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    def _lines(self, rows: Rows) -> list[int]:
        """The line in which each row begins; empty lines are no rows."""
        lines, line, start = [], rows.line, 0
        while start < len(rows.text):
            end = self._grammar.row_end(rows.text, start)
            if end is None:
                break
            if rows.text[start:end].strip(b"\r\n"):
                lines.append(line)
            line += rows.text.count(self._grammar.end, start, end)
            start = end
        return lines

    def _ragged(self, width: int) -> str:
        delimiter = self._grammar.delimiter.decode()
        hint = f"is the delimiter {delimiter!r} (--delimiter), and are values that hold it quoted?"
        return f"Expected {self._width} columns, got {width}; {hint}"


def _as_text(values: pa.Array, *, ascii_only: bool) -> tuple[pa.Array, list[tuple[int, bytes]]]:
    """Bytes as strings; those that are no UTF-8 become null and are given by their position."""
    if ascii_only:  # Looking at the text as a whole is far cheaper than at each value.
        return values.view(pa.string()), []
    try:
        return values.cast(pa.string()), []
    except pa.ArrowInvalid:
        raw = values.to_pylist()
        failed = [(position, value) for position, value in enumerate(raw) if value and not _decodes(value)]
        for position, _ in failed:
            raw[position] = None
        return pa.array(raw, pa.binary()).cast(pa.string()), failed


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
