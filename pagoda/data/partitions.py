"""The interaction log on disk: one Parquet file after the other in time order, read by window, and written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.checks.problems import Kind, Problem, ProblemSink
from pagoda.data.increments import arrivals_of, superseded
from pagoda.data.layout import DAY_US, day_of, day_start_us, partition_date, partition_name
from pagoda.data.parquet import FIRST_PART, open_parquet, open_writer, parquet_files, reading

ROW_GROUP_ROWS = 131_072
_ENCODERS = 2
_UNDER_WAY = 4
"""Pieces that are or wait to be encoded, at most a row group each."""


@dataclass(frozen=True)
class Part:
    """One Parquet file of a date."""

    day: date
    path: Path

    @property
    def start_us(self) -> int:
        """First moment that the file may hold."""
        return day_start_us(self.day)

    @property
    def end_us(self) -> int:
        """First moment that is too late for the file."""
        return self.start_us + DAY_US

    @property
    def arrived(self) -> bool:
        """Whether the file holds events as they arrived: those of one date may overlap in time."""
        return arrivals_of(self.path.name) is not None


def list_parts(folder: Path, sink: ProblemSink) -> list[Part]:
    """The files of an `interactions` folder by date, within a date by name; those for which another stands left out."""
    parts = []
    for partition in sorted(folder.iterdir()):
        if partition.name.startswith((".", "_")):
            continue
        day = partition_date(partition.name) if partition.is_dir() else None
        if day is None:
            message = "interactions are kept in folders named date=YYYY-MM-DD; move it away or rename it"
            sink.add(Problem(Kind.PARTITION, str(partition), message))
            continue
        paths = parquet_files(partition)
        gone = superseded(path.name for path in paths)
        parts += [Part(day, path) for path in paths if path.name not in gone]
    return parts


def row_groups_within(metadata: pq.FileMetaData, start_us: int, end_us: int) -> list[int]:
    """Row groups that may hold a timestamp in [start_us, end_us); those without statistics may."""
    spans = _spans(metadata)
    return [number for number, span in enumerate(spans) if span is None or (span[0] < end_us and span[1] >= start_us)]


def first_moment_us(part: Part) -> int:
    """A moment that no row of the file lies before, from the footer."""
    with reading(part.path), open_parquet(part.path) as file:
        spans = _spans(file.metadata)
    return min((span[0] if span else part.start_us for span in spans), default=part.start_us)


def _spans(metadata: pq.FileMetaData) -> list[tuple[int, int] | None]:
    """First and last timestamp of each row group, where it says them."""
    columns = [metadata.schema.column(i).name for i in range(metadata.num_columns)]
    timestamp = columns.index("timestamp")
    found = [metadata.row_group(group).column(timestamp).statistics for group in range(metadata.num_row_groups)]
    return [(one.min_raw, one.max_raw) if one is not None and one.has_min_max else None for one in found]


def rebatch(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows`, but for the last."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        rest = batch
        while held + rest.num_rows >= rows:
            waiting.append(rest.slice(0, rows - held))
            yield pa.concat_batches(waiting)
            rest = rest.slice(rows - held)
            waiting, held = [], 0
        if rest.num_rows:
            waiting.append(rest)
            held += rest.num_rows
    if waiting:
        yield pa.concat_batches(waiting)


class InteractionWriter:
    """Writes time-ordered batches below `folder`, one file a date; only the last dates' files are open.

    Rows are encoded in threads, while the next ones come.
    """

    def __init__(self, folder: Path, schema: pa.Schema, name: str = FIRST_PART) -> None:
        self._folder = folder
        self._schema = schema
        self._name = name
        self._day: date | None = None
        self._file: _DateFile | None = None
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._threads = ThreadPoolExecutor(_ENCODERS)
        self._under_way: deque[Future[None]] = deque()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows whose timestamps do not lie before any row written so far."""
        timestamps = timestamps_us(batch)
        days = timestamps // DAY_US
        starts = [0, *(np.flatnonzero(np.diff(days)) + 1), batch.num_rows] if batch.num_rows else []
        for start, end in pairwise(starts):
            self._switch(day_of(int(timestamps[start])))
            self._held.append(batch.slice(start, end - start))
            self._held_rows += end - start
            if self._held_rows >= ROW_GROUP_ROWS:
                self._flush(last=False)

    def close(self) -> None:
        """Finish the current file."""
        try:
            self._flush(last=True)
            self._wait(0)
        finally:
            self._threads.shutdown()

    def __enter__(self) -> InteractionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._threads.shutdown(cancel_futures=True)

    def _switch(self, day: date) -> None:
        if day == self._day:
            return
        self._flush(last=True)
        folder = self._folder / partition_name(day)
        # A date that was written before means that the rows are not in time order: fail rather than overwrite.
        folder.mkdir(parents=True)
        self._file = _DateFile(folder / self._name, self._schema)
        self._day = day

    def _flush(self, *, last: bool) -> None:
        if self._file is not None:
            self._wait(_UNDER_WAY - 1)
            piece = self._threads.submit(self._file.write, self._held, self._file.piece, last=last)
            self._file.piece = piece
            self._under_way.append(piece)
        self._held, self._held_rows = [], 0

    def _wait(self, left: int) -> None:
        """Until so many pieces are under way; raises what went wrong with one of the others."""
        while len(self._under_way) > left:
            self._under_way.popleft().result()


class _DateFile:
    """The file of one date."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self.piece: Future[None] | None = None
        """The one that was handed to a thread last."""

    def write(self, batches: list[pa.RecordBatch], after: Future[None] | None, *, last: bool) -> None:
        """Append rows once those of `after` are written; after the last ones the file is finished."""
        if after is not None:
            after.result()
        if self._writer is None:
            self._writer = open_writer(self._path, self._schema)
        if batches:
            self._writer.write_table(pa.Table.from_batches(batches, self._schema), ROW_GROUP_ROWS)
        if last:
            self._writer.close()


def timestamps_us(batch: pa.RecordBatch) -> np.ndarray:
    """Column `timestamp` as int64 [n] microseconds."""
    times: np.ndarray = batch.column("timestamp").cast(pa.int64()).to_numpy()
    return times
