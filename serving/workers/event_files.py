"""Rows of the event stream as Parquet files of a dataset."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.data.layout import DAY_US, INTERACTION_COLUMNS, TIMESTAMP, day_of, partition_name, schema_of
from pagoda.data.parquet import in_columns
from pagoda.data.sorting.batches import sort_batch
from pagoda.data.spec import FeatureSpec

_log = logging.getLogger(__name__)
_ROW_GROUP_ROWS = 131_072
_BATCH_ROWS = 16_384
MOST_DATES = 64
"""Of one slot, since each is a file: more than any installation's `events.late_days` of clients that were offline."""


def by_day(entries: Sequence[bytes], spec: FeatureSpec) -> tuple[dict[str, bytes], list[bytes]]:
    """Sort rows into Parquet files, one for each date; the same entries give the same files.

    Args:
        entries: Rows as JSON, from `serving.events`.
        spec: Of the dataset.

    Returns:
        By partition name the file, sorted by time; and the entries that are no interaction of this dataset, or of dates
        beyond `MOST_DATES`, those with the fewest entries.
    """
    schema = schema_of(spec, "interactions")
    table, refused = _table(entries, schema)
    if len(np.unique(_days(table))) > MOST_DATES:
        few, others = _of_few_dates(entries)
        table, unfit = _table(few, schema)
        refused = others + unfit
    ordered = sort_batch(table, "timestamp")
    days = _days(ordered)
    files = {}
    for day in np.unique(days).tolist():
        start, end = np.searchsorted(days, [day, day + 1])
        files[partition_name(day_of(day * DAY_US))] = parquet([ordered.slice(start, end - start)], schema)
    return files, refused


def _days(table: pa.RecordBatch) -> NDArray[np.int64]:
    """By row the day, counted from 1970."""
    days: NDArray[np.int64] = table.column("timestamp").cast(pa.int64()).to_numpy() // DAY_US
    return days


def _of_few_dates(entries: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The entries of at most `MOST_DATES` dates, and the others."""
    days = [_day(entry) for entry in entries]
    counted = Counter(days)
    # The same dates whoever files the slot: by entries, then the latest.
    kept = set(sorted(counted, key=lambda day: (counted[day], day), reverse=True)[:MOST_DATES])
    others = [entry for entry, day in zip(entries, days, strict=True) if day not in kept]
    _log.error("%d events of %d dates: only %d of a slot are filed", len(others), len(counted), MOST_DATES)
    return [entry for entry, day in zip(entries, days, strict=True) if day in kept], others


def _day(entry: bytes) -> int:
    """Of an entry; one without belongs to no date, and is refused as it is."""
    try:
        return int(orjson.loads(entry)["timestamp"]) // DAY_US
    except (ValueError, TypeError, KeyError):
        return 0


def parquet(batches: Sequence[pa.RecordBatch] | Iterator[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """Batches as the content of one file, as `pagoda.data.parquet` writes them."""
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=_ROW_GROUP_ROWS)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def batches_in(content: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of the content of a file, null in columns that it lacks."""
    for batch in pq.ParquetFile(pa.BufferReader(content)).iter_batches(_BATCH_ROWS, columns=None):
        yield in_columns(batch, schema)


def _table(entries: Sequence[bytes], schema: pa.Schema) -> tuple[pa.RecordBatch, list[bytes]]:
    place = schema.get_field_index("timestamp")
    raw = schema.set(place, pa.field("timestamp", pa.int64()))
    batch, refused = _batch(entries, raw), []
    if batch is None:
        # Seldom: the dataset's declaration differs from the one that events were checked against.
        alone = [(entry, _batch([entry], raw)) for entry in entries]
        refused = [entry for entry, one in alone if one is None]
        batch = pa.concat_batches([pa.RecordBatch.from_pylist([], raw), *(one for _, one in alone if one is not None)])
    return batch.set_column(place, schema.field(place), batch.column(place).cast(TIMESTAMP)), refused


def _batch(entries: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch | None:
    """The rows, or None if one of them does not fit."""
    try:
        batch = pa.RecordBatch.from_pylist([orjson.loads(entry) for entry in entries], schema)
    except (ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        _log.error("events that do not fit the dataset (%s); they are set aside in refused/", type(error).__name__)
        return None
    return None if any(batch.column(name).null_count for name in INTERACTION_COLUMNS) else batch
