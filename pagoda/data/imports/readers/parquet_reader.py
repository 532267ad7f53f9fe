"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pagoda.data.imports.readers.base import Refuse, raise_refusal
from pagoda.data.parquet import open_parquet, reading

_BATCH_ROWS = 65_536


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

    def batches(
        self,
        path: Path,
        columns: list[str],
        refuse: Refuse = raise_refusal,  # noqa: ARG002: what is wrong with Parquet is wrong with more than a row.
    ) -> Iterator[pa.RecordBatch]:
        """Stream some columns."""
        with reading(path), open_parquet(path) as file:
            yield from file.iter_batches(_BATCH_ROWS, columns=columns)
