"""CSV files: what a row is is settled by the grammar, what is in it is read by Arrow.

Arrow's reader by itself loses rows without a word: at a quote that is never closed, at a NUL byte in larger files
(apache/arrow#50481), and a line feed at the edge of a block (apache/arrow#51368). So it is given whole rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from pagoda.data.imports.readers.base import Reader
from pagoda.data.imports.readers.csv_grammar import CsvGrammar
from pagoda.data.imports.readers.csv_head import CsvHead, read_head
from pagoda.data.imports.readers.csv_header import check_columns, check_header
from pagoda.data.imports.readers.csv_rows import RowCutter
from pagoda.data.imports.readers.csv_values import ValueReader
from pagoda.data.imports.readers.refusals import Read, Refusal, Refuse, hand_over, raise_refusal
from pagoda.data.imports.readers.text_files import ahead, check_encoding, chunks, endings
from pagoda.errors import ConfigError


@dataclass(frozen=True)
class CsvReader(Reader):
    """CSV; every value is read as text, empty ones as null. `.gz`, `.bz2` and `.zst` files are unpacked."""

    delimiter: str = ","
    quote: str | None = '"'
    """None: quotes are characters like any other."""
    encoding: str = "utf-8"
    """As Python calls it."""
    columns: tuple[str, ...] = ()
    """Of files without a header line; none: the first line names them."""
    suffixes: tuple[str, ...] = endings(".csv", ".tsv")
    typed: bool = False

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        if not self.delimiter or set(self.delimiter) & {"\r", "\n", "\0", self.quote}:
            raise ConfigError(f"delimiter {self.delimiter!r} cannot stand between values; , and ; and :: can")
        if self.quote is not None and (len(self.quote) != 1 or not self.quote.isascii() or self.quote in "\r\n\0"):
            raise ConfigError(f"quote {self.quote!r} is no single ASCII character; say none if there is no quote")
        if self.columns and (len(set(self.columns)) < len(self.columns) or "" in self.columns):
            raise ConfigError(f"--columns {','.join(self.columns)}: each needs a name, and one of its own")

    def names(self, path: Path) -> list[str]:
        """Column names: the header line, or `columns`.

        Raises:
            DataError: The file cannot be read, is empty, or its first line is no header where one is needed.
        """
        first, *others = self._head(path).rows
        if self.columns:
            check_columns(str(path), self.columns, first)
            return list(self.columns)
        check_header(str(path), first, others)
        return first

    def batches(self, path: Path, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns as strings."""
        head = self._head(path)
        with (
            closing(chunks(path, self.encoding)) as text,
            closing(ahead(self._read(path, text, head, columns))) as read,
        ):
            yield from hand_over(chain.from_iterable(read), refuse)

    def _read(self, path: Path, text: Iterator[bytes], head: CsvHead, columns: list[str]) -> Iterator[list[Read]]:
        skipped, line = (0, 1) if self.columns else (head.end, head.line)
        values = ValueReader(str(path), head.grammar, list(self.columns) or head.rows[0], columns)
        for rows in RowCutter(str(path), head.grammar, line).cut(_after(text, skipped)):
            yield [rows] if isinstance(rows, Refusal) else values.read(rows)

    def _head(self, path: Path) -> CsvHead:
        grammar = CsvGrammar(self.delimiter.encode(), self.quote.encode() if self.quote else None)
        with closing(chunks(path, self.encoding)) as text:
            return read_head(str(path), text, grammar)


def _after(text: Iterator[bytes], skipped: int) -> Iterator[bytes]:
    """The text without its first bytes."""
    for chunk in text:
        yield chunk[skipped:]
        skipped = max(0, skipped - len(chunk))
