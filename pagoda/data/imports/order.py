"""`--keep-order`: rows of one user's moment get moments of their own, in the order of the files.

A date without a time of day puts all that a user did on it into one moment, and nothing could say what came first:
histories hold what lies before a moment. So the second row of a user's moment is put a microsecond after the first, the
third two, and training, evaluation and serving see the order of the files, each by the times alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.ids import hash_ids
from pagoda.data.sorting.external_sort import ExternalSorter

ORDER_FILE = "times.json"
"""Beside the declaration of a dataset whose times were made so."""
ORDER_NOTE = b'{"within_a_moment": "as the files had the rows, a microsecond apart"}\n'
Int64Array = NDArray[np.int64]


def apart(batches: Iterator[pa.RecordBatch], spill: Path, budget_bytes: int) -> Iterator[pa.RecordBatch]:
    """Rows in the order of time, with each user's moments made distinct.

    Args:
        batches: In the order of time, and of one moment in the order of the files.
        spill: Folder for what does not fit in memory.
        budget_bytes: Of memory. Beside it, 16 bytes for each user of the moment that is being read.
    """
    sorter = ExternalSorter("timestamp", spill, budget_bytes)
    moments = _Moments()
    for batch in batches:
        if batch.num_rows:
            sorter.add(moments.spread(batch))
    yield from sorter.rows()


class _Moments:
    """The last moment that each user was given, as far as rows to come may lie at it or before."""

    def __init__(self) -> None:
        self._users = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)

    def spread(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its new moments: each row a microsecond or more after the one before it of the same user."""
        place = batch.schema.get_field_index("timestamp")
        times = batch.column(place).cast(pa.int64()).to_numpy()
        keys = batch.column("user_id")
        users = hash_ids(keys) if pa.types.is_string(keys.type) else keys.to_numpy()
        order = np.argsort(users, kind="stable")
        moved = times.copy()
        moved[order] = self._distinct(users[order], times[order], int(times[-1]))
        field = batch.schema.field(place)
        return batch.set_column(place, field, pa.array(moved).cast(field.type))

    def _distinct(self, users: Int64Array, times: Int64Array, now: int) -> Int64Array:
        """New moments of rows that are sorted by user and, of each, by time; rows to come lie at `now` or later."""
        first = np.append(True, users[1:] != users[:-1])
        starts = np.flatnonzero(first)
        group = np.cumsum(first) - 1
        begin = times.copy()
        begin[starts] = np.maximum(times[starts], self._after(users[starts]))
        # The i-th row lies i µs after the j-th at least: so it is the largest of all begin[j] - j, and i more.
        ordinal = np.arange(len(users)) - starts[group]
        least = begin - ordinal
        step = 1
        while step <= int(ordinal.max()):
            within = ordinal[step:] >= step
            least[step:] = np.where(within, np.maximum(least[step:], least[:-step]), least[step:])
            step *= 2
        found: Int64Array = least + ordinal
        self._remember(users[starts], found[np.append(starts[1:], len(users)) - 1], now)
        return found

    def _after(self, users: Int64Array) -> Int64Array:
        """The first moment that is free for each of `users` (ascending)."""
        if not len(self._users):
            return np.zeros(len(users), np.int64)
        place = np.minimum(np.searchsorted(self._users, users), len(self._users) - 1)
        return np.where(self._users[place] == users, self._last[place] + 1, 0)

    def _remember(self, users: Int64Array, last: Int64Array, now: int) -> None:
        others = ~np.isin(self._users, users, assume_unique=True)
        users, last = np.append(self._users[others], users), np.append(self._last[others], last)
        kept = last >= now
        users, last = users[kept], last[kept]
        order = np.argsort(users)
        self._users, self._last = users[order], last[order]
