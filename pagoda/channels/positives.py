"""The latest positives of a dataset, which channels count: read as a stream, counted by item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pagoda.channels.base import Int64Array, TableSource
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.layout import DAY_US
from pagoda.data.window import Window, from_us

_BATCH_ROWS = 1 << 18


def positives(
    source: TableSource, days: float, columns: Sequence[str], events: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream these columns of the last `days` before the window's end, in time order: of positives, or of `events`."""
    wanted = source.dataset.spec.positives if events is None else events
    if (window := _latest(source, days)) is not None:
        yield from source.dataset.batches(window, events=wanted, columns=columns, batch_rows=_BATCH_ROWS)


def interactions(source: TableSource, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Stream these columns of all interactions before the window's end, in time order."""
    if (window := _latest(source, np.inf)) is not None:
        yield from source.dataset.batches(window, columns=columns, batch_rows=_BATCH_ROWS)


def count_by_item(source: TableSource, days: float, events: Sequence[str] | None = None) -> Int64Array:
    """Positives (or other `events`) of each of the source's items in the last `days`, int64 [i]."""
    items, counts = Slots(source.items), np.zeros(len(source.items), np.int64)
    for batch in positives(source, days, ["item_id"], events):
        places = items.find(batch.column("item_id").to_numpy())
        counts += np.bincount(places[places != MISSING], minlength=len(counts))
    return counts


def _latest(source: TableSource, days: float) -> Window | None:
    """The last `days` before the window's end, as far as the dataset goes back; None: there is nothing."""
    end, first = source.window.end_us, source.dataset.span().start_us
    start = max(first, end - round(min(days * DAY_US, end)))
    return Window(start=from_us(start), end=source.window.end) if start < end else None
