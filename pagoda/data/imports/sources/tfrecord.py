"""TFRecord files as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from pagoda.data.imports.readers.base import Reader
from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.data.tfrecord.columns import batches_of, column_types
from pagoda.data.tfrecord.records import read_records
from pagoda.errors import DataError


@dataclass(frozen=True)
class TfrecordReader(Reader):
    """TFRecord; every column is one of lists, as it knows no others.

    A file is read once more than others are: any of its records may have a feature that those before it lack.
    """

    suffixes: tuple[str, ...] = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")
    typed: bool = True
    _known: dict[Path, pa.Schema] = field(default_factory=dict, compare=False, repr=False)

    def names(self, path: Path) -> list[str]:
        """Names of the features of all records."""
        names: list[str] = self._types(path).names
        return names

    def batches(
        self,
        path: Path,
        columns: list[str],
        refuse: Refuse = raise_refusal,
    ) -> Iterator[pa.RecordBatch]:
        """Stream some features."""
        types = self._types(path)
        yield from batches_of(_records(path), pa.schema([types.field(name) for name in columns]), str(path))

    def _types(self, path: Path) -> pa.Schema:
        if path not in self._known:
            self._known[path] = column_types(_records(path), str(path))
        return self._known[path]


def _records(path: Path) -> Iterator[bytes]:
    try:
        yield from read_records(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(f"{path}: cannot be read ({reason})") from error
