"""Reading files of interactions in the order of time, which is checked on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.layout import schema_of
from pagoda.data.parquet import in_columns, open_parquet, reading
from pagoda.data.partitions import Part, row_groups_within, timestamps_us
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.errors import DataError

BATCH_ROWS = 65_536


def in_order(
    parts: Sequence[Part], spec: FeatureSpec, window: Window | None, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of files that follow each other, of `window` only where one is given; `columns` have `timestamp`.

    Raises:
        DataError: A file cannot be read, or its rows are not in time order or not of its date.
    """
    last_us = None
    for part in parts:
        for batch in _read(part, window, schema_of(spec, "interactions"), columns):
            last_us = _ordered(batch, part, last_us)
            yield _slice(batch, window)


def edge_us(part: Part, position: int) -> int:
    """The first (0) or last (-1) timestamp of a file, which has at least one row, in microseconds."""
    with reading(part.path), open_parquet(part.path) as file:
        group = 0 if position == 0 else file.metadata.num_row_groups - 1
        table: pq.Table = file.read_row_group(group, columns=["timestamp"])
        return int(table.column("timestamp")[position].cast(pa.int64()).as_py())


def _read(part: Part, window: Window | None, schema: pa.Schema, columns: list[str]) -> Iterator[pa.RecordBatch]:
    wanted = pa.schema([schema.field(name) for name in columns])
    with reading(part.path), open_parquet(part.path) as file:
        groups = list(range(file.metadata.num_row_groups))
        if window is not None:
            groups = row_groups_within(file.metadata, window.start_us, window.end_us)
        there = [name for name in columns if name in file.schema_arrow.names]  # Some columns are optional.
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=there):
            yield in_columns(batch, wanted)


def _ordered(batch: pa.RecordBatch, part: Part, last_us: int | None) -> int | None:
    """The batch's last timestamp; DataError unless its rows follow `last_us` in time order within the part's date."""
    if not batch.num_rows:
        return last_us
    times = timestamps_us(batch)
    before = times[0] if last_us is None else max(last_us, part.start_us)
    if times[0] < before or (np.diff(times) < 0).any() or times[0] < part.start_us or times[-1] >= part.end_us:
        raise DataError(f"{part.path}: rows are not in time order or lie outside the date; see `pagoda data check`")
    return int(times[-1])


def _slice(batch: pa.RecordBatch, window: Window | None) -> pa.RecordBatch:
    if window is None:
        return batch
    start, end = np.searchsorted(timestamps_us(batch), [window.start_us, window.end_us])
    return batch.slice(int(start), int(end - start))
