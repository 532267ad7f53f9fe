"""CSV files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from pagoda.data.imports.readers.base import Refuse, raise_refusal
from pagoda.data.parquet import first_line
from pagoda.errors import DataError

_CSV_BLOCK_BYTES = 4 << 20


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

    def batches(
        self,
        path: Path,
        columns: list[str],
        refuse: Refuse = raise_refusal,  # noqa: ARG002
    ) -> Iterator[pa.RecordBatch]:
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


@contextmanager
def _reading_csv(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise DataError(f"{path}: {first_line(error)}; is this CSV, in UTF-8, with this delimiter?") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from error
