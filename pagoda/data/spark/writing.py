"""Ordered rows as files of a dataset: a task writes its range aside, and moves whole files into the folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

from pagoda.data.layout import Table
from pagoda.data.parquet import in_columns, parquet_files, row_count, write_table
from pagoda.data.partitions import InteractionWriter
from pagoda.errors import DataError
from pagoda.storage.atomic import make_folder, move_durably


@dataclass(frozen=True)
class Writer:
    """Of one table, and what each of its tasks carries: run again, or twice, one puts the same files in place."""

    table: Table
    schema: pa.Schema
    folder: Path
    spill: Path

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        # Ranges are numbered in their order, so within a date files follow each other by name.
        name = f"part-{context.partitionId():05}.parquet"
        aside = self.spill / f"{self.table}-{context.taskAttemptId()}"
        written = 0

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal written
            for batch in batches:
                if batch.num_rows:
                    written += batch.num_rows
                    yield in_columns(batch, self.schema)

        if self.table == "interactions":
            with InteractionWriter(aside, self.schema, name) as writer:
                for batch in rows():
                    writer.write(batch)
        elif (first := next(found := rows(), None)) is not None:
            write_table(aside, (one for batches in ([first], found) for one in batches), self.schema, name)
        for made in sorted(aside.rglob("*.parquet")):
            place = self.folder / made.relative_to(aside)
            make_folder(place.parent)
            move_durably(made, place)
        yield pa.RecordBatch.from_pydict({"rows": pa.array([written], pa.int64())})

    def write(self, rows: DataFrame, *order: Column) -> None:
        """Write the columns of the schema, in an order, into the new folder.

        Raises:
            DataError: Not all of what tasks wrote lies in the folder.
        """
        make_folder(self.folder)
        written = rows.orderBy(*order).mapInArrow(self, "rows long").agg(F.sum("rows")).head()[0] or 0
        files = [
            path for part in (self.folder, *self.folder.iterdir()) if part.is_dir() for path in parquet_files(part)
        ]
        found = sum(map(row_count, files))
        if found != written:
            raise DataError(
                f"{self.folder}: executors wrote {written:,} rows, and {found:,} lie here; "
                "the dataset's folder must be on a file system that the driver and all executors share"
            )
        if not files:  # A table without rows is a file without rows.
            self.folder.rmdir()
            write_table(self.folder, iter(()), self.schema)
