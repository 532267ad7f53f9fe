"""Delta Lake tables as a source, by delta-rs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.data.imports.sources.arrow import plain, plain_schema
from pagoda.data.parquet import first_line
from pagoda.errors import DataError
from pagoda.masking import masked
from pagoda.storage.copies import local_path

_ONE_AFTER_THE_OTHER = {"datafusion.execution.target_partitions": "1"}
"""Else files are read at once, and rows of one moment come in another order each time."""


@dataclass(frozen=True)
class _Version:
    uri: str
    table: DeltaTable = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{masked(self.uri)}, version {self.table.version()}"


@dataclass(frozen=True)
class DeltaReader:
    """Implements `pagoda.data.imports.sources.base.SourceReader`; a source is a table's folder or URI.

    What a store asks for is taken from the environment, under the names of `object_store`: `AWS_ACCESS_KEY_ID`, …
    """

    version: int | None = None
    """None: the latest."""

    def parts(self, source: str) -> list[_Version]:
        """The table as of the version.

        Raises:
            DataError: There is no such table, or no such version.
        """
        path = local_path(str(source))
        if path is not None and not path.is_dir():
            raise DataError(f"{path}: no such folder; expected a Delta table")
        with _reading(str(source)):
            return [_Version(str(source), DeltaTable(str(path or source), version=self.version))]

    def passed_over(self, source: str) -> tuple[()]:
        """Nothing."""
        return ()

    def types(self, part: _Version, columns: list[str]) -> pa.Schema:
        """As the table declares them."""
        schema = pa.schema(part.table.schema().to_arrow())
        return plain_schema(pa.schema([schema.field(name) for name in columns]))

    def names(self, part: _Version) -> list[str]:
        """Column names."""
        return [field.name for field in part.table.schema().fields]

    def batches(self, part: _Version, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns. By delta-rs' own engine, since pyarrow's data sets know no deletion vectors."""
        wanted = ", ".join(_quoted(name) for name in columns)
        with _reading(str(part)):
            engine = QueryBuilder(_ONE_AFTER_THE_OTHER).register("source", part.table)
            found = engine.execute(f"SELECT {wanted} FROM source")  # noqa: S608
            for batch in pa.RecordBatchReader.from_stream(found):
                yield plain(batch)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read as a Delta table ({first_line(error)})") from error
