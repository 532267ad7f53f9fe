"""Tables of an import as data frames of the contract's columns, each row with its place in the input.

A file is a task: a CSV file cannot be cut, since a quote may hold the end of a line. What a task reads is what the
importer's `TableReader` reads, so values are cast, checked and refused alike, by the same words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from pagoda.data.imports.job import Import
from pagoda.data.imports.rows.refusals import Refusals
from pagoda.data.imports.sources.arrow import ArrowReader
from pagoda.data.imports.sources.files import Readers, RemoteFile
from pagoda.data.imports.table_reader import Noticed, TableReader
from pagoda.data.layout import Table, schema_of
from pagoda.data.spark.tables import SparkTables
from pagoda.data.spec import FeatureSpec
from pagoda.errors import PagodaError

PART, ROW = "#part", "#row"
"""Where a row came from: the part's number, and the row in it, counted from 1."""


@dataclass(frozen=True)
class Said:
    """What a task says of its part beside the rows."""

    noticed: Noticed
    wrong: PagodaError | None = None
    """What ended it."""


class SaidParam:
    """How Spark brings together what tasks say, by part: a part that is read again says the same."""

    def zero(self, value: dict[int, Said]) -> dict[int, Said]:
        """Nothing said."""
        return {}

    def addInPlace(self, one: dict[int, Said], other: dict[int, Said]) -> dict[int, Said]:  # noqa: N802 - Spark's name
        """Both."""
        return one | other


@dataclass(frozen=True)
class ReadTable:
    """A table as it was read."""

    rows: DataFrame
    """Columns of the contract, the timestamp in microseconds, and `PART` and `ROW`; kept on the executors' disks."""
    count: int
    parts: list[str]
    """What messages call them."""
    noticed: Noticed


@dataclass(frozen=True)
class _Task:
    """What the tasks of a table carry."""

    job: Import
    spec: FeatureSpec
    table: Table
    said: Any
    """Spark's accumulator of `Said`."""

    def read(self, number: int, job: Import, source: Any) -> Iterator[pa.RecordBatch]:
        """The rows of one part, up to the first that is wrong."""
        with tempfile.TemporaryDirectory(prefix="pagoda-import-") as spill:
            refusals = Refusals(job.rules.skip, Path(spill) / "refused.csv")
            readers = Readers(job.reader_of, Path(spill))
            reader = TableReader(
                readers.of, self.spec, job.names, job.conversion, job.rules, job.default_event, refusals, job.features
            )
            wrong = None
            try:
                for rows, extras in reader.read(self.table, source):
                    batch, kept = rows.taken_with(extras.likes)
                    yield _with_place(batch, number, kept + rows.first_row)
            except PagodaError as error:
                wrong = error
            self.said.add({number: Said(reader.noticed, wrong)})


@dataclass(frozen=True)
class _FileTask(_Task):
    parts: list[str] = field(default_factory=list)

    def __call__(self, numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from self.read(number, self.job, self.parts[number])


@dataclass(frozen=True)
class _TableTask(_Task):
    source: str = ""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is None:
            return
        number = TaskContext.get().partitionId()
        stream = pa.RecordBatchReader.from_batches(first.schema, _led_by(first, batches))
        reader = ArrowReader(f"{self.source}, partition {number}, stream")
        yield from self.read(number, replace(self.job, reader=reader, readers={}), stream)


def read_table(session: SparkSession, job: Import, spec: FeatureSpec, table: Table, spill: Path) -> ReadTable:
    """Read a table that the import has a source of.

    Raises:
        PagodaError: The first thing that is wrong, in the order of the parts.
    """
    source: Any = job.source(table)
    reader = job.reader_of(table)
    said = session.sparkContext.accumulator({}, SaidParam())
    given = Readers(job.reader_of, spill).of(table)
    found = list(given.parts(source))
    task: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    if isinstance(reader, SparkTables):
        raw, parts = session.table(source), []
        task = _TableTask(replace(job, reader=ArrowReader(), readers={}), spec, table, said, source)
    else:
        parts = list(map(str, found))
        raw = session.range(0, len(parts), 1, len(parts))
        paths = [part.uri if isinstance(part, RemoteFile) else str(part) for part in found]
        task = _FileTask(job, spec, table, said, paths)
    rows = raw.mapInArrow(task, from_arrow_schema(_schema(spec, table))).persist(StorageLevel.DISK_ONLY)
    count = rows.count()
    in_order = [one for _, one in sorted(said.value.items())]
    if wrong := next((one.wrong for one in in_order if one.wrong is not None), None):
        raise wrong
    beside = Noticed(passed_over=[str(one) for one in given.passed_over(source)])
    return ReadTable(rows, count, parts or [source], together([beside, *(one.noticed for one in in_order)]))


def _schema(spec: FeatureSpec, table: Table) -> pa.Schema:
    """Moments travel as numbers, which no session's time zone concerns."""
    schema = schema_of(spec, table)
    kinds = [pa.int64() if pa.types.is_timestamp(one.type) else one.type for one in schema]
    return pa.schema([*zip(schema.names, kinds, strict=True), (PART, pa.int32()), (ROW, pa.int64())])


def _with_place(batch: pa.RecordBatch, number: int, rows: np.ndarray) -> pa.RecordBatch:
    columns = {
        name: column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    part = pa.repeat(pa.scalar(number, pa.int32()), batch.num_rows)
    return pa.RecordBatch.from_pydict({**columns, PART: part, ROW: pa.array(rows, pa.int64())})


def _led_by(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from others


def together(noticed: Sequence[Noticed]) -> Noticed:
    """What several noticed, the first of them first."""
    every = Noticed()
    for one in noticed:
        every.left_out |= one.left_out
        every.passed_over += [name for name in one.passed_over if name not in every.passed_over]
        every.dropped += one.dropped
        every.null_words = one.null_words | every.null_words
        every.float_ids = one.float_ids | every.float_ids
    return every
