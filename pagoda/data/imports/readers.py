"""Anyone's CSV or Parquet files as a stream of raw batches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from pyarrow import csv

from pagoda.data.parquet import first_line, open_parquet, reading
from pagoda.errors import DataError

_CSV_BLOCK_BYTES = 4 << 20
_BATCH_ROWS = 65_536


class Reader(Protocol):
    """One file format."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the names of such files in a folder."""

    @property
    def typed(self) -> bool:
        """Whether the files say the types of their columns."""

    def names(self, path: Path) -> list[str]:
        """Column names of a file."""

    def batches(self, path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream some columns of a file."""


@dataclass(frozen=True)
class CsvReader:
    """CSV with a header line; every value is read as text, empty ones as null. `.gz`, `.bz2`, `.zst` are unpacked."""

    delimiter: str = ","
    suffixes: tuple[str, ...] = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.zst")
    typed: bool = False

    def names(self, path: Path) -> list[str]:
        """Column names: the header line."""
        with _reading_csv(path), self._open(path, {}) as reader:
            names: list[str] = reader.schema.names
            return names

    def batches(self, path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream some columns as strings."""
        with _reading_csv(path), self._open(path, dict.fromkeys(columns, pa.string())) as reader:
            yield from reader

    def _open(self, path: Path, types: dict[str, pa.DataType]) -> csv.CSVStreamingReader:
        return csv.open_csv(
            path,
            csv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
            csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=True, null_values=[""]
            ),
        )


@dataclass(frozen=True)
class ParquetReader:
    """Parquet."""

    suffixes: tuple[str, ...] = (".parquet", ".pq")
    typed: bool = True

    def names(self, path: Path) -> list[str]:
        """Column names."""
        with reading(path), open_parquet(path) as file:
            names: list[str] = file.schema_arrow.names
            return names

    def batches(self, path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream some columns."""
        with reading(path), open_parquet(path) as file:
            yield from file.iter_batches(_BATCH_ROWS, columns=columns)


def list_files(path: Path, reader: Reader) -> list[Path]:
    """`path` itself if it is a file, else the files below it with the format's endings, by name; hidden ones are none.

    Raises:
        DataError: There is none, or the folder cannot be read.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    try:
        # os.walk, since Path.rglob passes over folders that it may not read.
        walk = list(os.walk(path, onerror=_raise))
    except OSError as error:
        raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error
    files = sorted(Path(folder) / name for folder, _, names in walk for name in names if name.endswith(reader.suffixes))
    # An editor's or a notebook's copies would be imported beside what they are copies of.
    found = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if not found:
        raise DataError(f"{path}: no file that ends in {', '.join(reader.suffixes)}")
    return found


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _reading_csv(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise DataError(f"{path}: {first_line(error)}; is this CSV, in UTF-8, with this delimiter?") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from error
