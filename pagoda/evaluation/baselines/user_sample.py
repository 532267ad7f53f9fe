"""A share of the users, the same ones wherever it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.dataset import Dataset
from pagoda.data.ids import user_places
from pagoda.data.parquet import row_count
from pagoda.data.window import Window

_MOST_HELD = 2_000_000
"""Rows that are held in memory: a hundred megabytes or two."""


class SampledUsers(Dataset):
    """A dataset of whose users only a share ever did anything. Items and profiles are all there.

    What they did is read once, where it is little: a training reads it ten times, and in a long sparse log, a file a
    date, opening the files takes longer than training.
    """

    def __init__(self, dataset: Dataset, share: float) -> None:
        """Look at `dataset`, which is not changed, and may be such a sample itself: of that, no file is read again."""
        vars(self).update(vars(dataset))
        vars(self).pop("_held", None)
        self._of, self._share = dataset, share

    def count(self, window: Window | None = None, *, events: Collection[str] | None = None) -> int:
        """See `Dataset.count`."""
        return sum(batch.num_rows for batch in self.batches(window, events=events, columns=["timestamp"]))

    def _stream(self, window: Window | None, events: set[str] | None, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if (rows := self._held) is None:
            yield from self._ours(self._of._stream(window, events, self._with_users(columns)), columns)
            return
        if window is not None:
            start, end = np.searchsorted(rows["timestamp"].cast("int64"), [window.start_us, window.end_us])
            rows = rows.slice(start, end - start)
        if events is not None:
            rows = rows.filter(pc.is_in(rows["event"], value_set=pa.array(sorted(events))))
        yield from rows.select(columns).to_batches()

    @cached_property
    def _held(self) -> pa.Table | None:
        """All that they did, in time order; None where it is much."""
        # By the footers: `Dataset.count` may read rows, which asks for what is held.
        if sum(row_count(part.path) for part in self._parts(None)) * self._share > _MOST_HELD:
            return None
        names = self._all_columns()
        rows = list(self._ours(self._of._stream(None, None, names), names))
        return pa.Table.from_batches(rows).combine_chunks() if rows else None

    def _ours(self, rows: Iterator[pa.RecordBatch], columns: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            ours = user_places(batch.column("user_id").to_numpy()) < self._share
            yield batch.filter(pa.array(ours)).select(columns)

    @staticmethod
    def _with_users(columns: list[str]) -> list[str]:
        return [*columns, *({"user_id"} - set(columns))]
