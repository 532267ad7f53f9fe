"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.checks.problems import Kind, Problem
from pagoda.data.imports.readers.base import Reader
from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.data.parquet import all_batches, open_parquet, reading
from pagoda.errors import DataError

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class ParquetReader(Reader):
    """Parquet."""

    suffixes: tuple[str, ...] = (".parquet", ".pq")
    typed: bool = True

    def names(self, path: Path) -> list[str]:
        """Column names."""
        with reading(path), open_parquet(path) as file:
            names: list[str] = file.schema_arrow.names
            return names

    def batches(
        self,
        path: Path,
        columns: list[str],
        refuse: Refuse = raise_refusal,  # noqa: ARG002
    ) -> Iterator[pa.RecordBatch]:
        """Stream some columns."""
        with reading(path), open_parquet(path) as file:
            try:
                yield from all_batches(file, _BATCH_ROWS, columns)
            except pa.ArrowInvalid:
                _check_vectors(file, str(path), columns)
                raise


def _check_vectors(file: pq.ParquetFile, path: str, columns: list[str]) -> None:
    """Raise DataError if a fixed-size list is null: Arrow writes such and cannot read them (apache/arrow#35692)."""
    for name in columns:
        if not pa.types.is_fixed_size_list(file.schema_arrow.field(name).type):
            continue
        row = 0
        try:
            for batch in file.iter_batches(1, columns=[name]):
                row += batch.num_rows
        except pa.ArrowInvalid as error:
            message = (
                "a vector of fixed size is null, which Arrow cannot read; a missing vector may be zeros, or a null "
                "in a column whose type is a list without a size"
            )
            raise DataError(str(Problem(Kind.NULL, path, message, name, row + 1, "null"))) from error
