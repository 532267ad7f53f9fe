"""Iceberg tables as a source, by pyiceberg: each data file is a part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.table import DataScan, FileScanTask, StaticTable, Table

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.data.imports.sources.arrow import plain, plain_schema
from pagoda.data.parquet import first_line
from pagoda.errors import DataError
from pagoda.masking import masked


@dataclass(frozen=True)
class _DataFile:
    """One data file, and the positions in it that were deleted."""

    table: Table = field(compare=False, repr=False)
    snapshot: int
    task: FileScanTask = field(compare=False, repr=False)

    def __str__(self) -> str:
        return masked(self.task.file.file_path)

    def scan(self, columns: tuple[str, ...]) -> DataScan:
        """The snapshot's rows, these columns of it."""
        return self.table.scan(snapshot_id=self.snapshot, selected_fields=columns)


@dataclass(frozen=True)
class IcebergReader:
    """Implements `pagoda.data.imports.sources.base.SourceReader`.

    A source is `CATALOG.NAMESPACE.TABLE`, the catalog one of `~/.pyiceberg.yaml` or of `PYICEBERG_CATALOG__NAME__URI`;
    or, with a slash in it, a metadata file, or the table's folder if that has a `version-hint.text`.
    """

    snapshot: int | None = None
    """Its ID; None: the current one."""

    def parts(self, source: str) -> list[_DataFile]:
        """The data files of the snapshot, by name.

        Raises:
            DataError: There is no such table or snapshot, or no row in it.
        """
        with _reading(str(source)):
            table = _open(str(source))
            current = table.current_snapshot()
            snapshot = self.snapshot or (current.snapshot_id if current else None)
            tasks = [] if snapshot is None else table.scan(snapshot_id=snapshot).plan_files()
            found = sorted(tasks, key=lambda task: task.file.file_path)
            if snapshot is None or not found:
                raise ValueError("there is no row in it")
            return [_DataFile(table, snapshot, task) for task in found]

    def passed_over(self, source: str) -> tuple[()]:
        """Nothing."""
        return ()

    def types(self, part: _DataFile, columns: list[str]) -> pa.Schema:
        """As the table declares them."""
        return plain_schema(schema_to_pyarrow(part.scan(tuple(columns)).projection()))

    def names(self, part: _DataFile) -> list[str]:
        """Column names."""
        return [column.name for column in part.scan(("*",)).projection().fields]

    def batches(self, part: _DataFile, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns. A file at a time: pyiceberg's own stream reads all files ahead, whatever they hold."""
        with _reading(str(part)):
            scan = part.scan(tuple(columns))
            reader = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter, scan.case_sensitive)
            for batch in reader.to_record_batches([part.task]):
                yield plain(batch.select(columns))


def _open(source: str) -> Table:
    if "/" in source:
        return StaticTable.from_metadata(source.rstrip("/"))
    catalog, _, name = source.partition(".")
    return load_catalog(catalog).load_table(name)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # pyiceberg's own errors have no common class.
        known = isinstance(error, pa.ArrowException | OSError | ValueError | KeyError)
        if not known and not type(error).__module__.startswith("pyiceberg"):
            raise
        raise DataError(f"{name}: cannot be read as an Iceberg table ({first_line(error)})") from error
