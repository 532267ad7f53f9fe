"""Rows of who was not seen for long retire with a full update, so that tables do not grow for ever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.training.tables import TrainableTable

Int64Array = NDArray[np.int64]
_DAY_US = 86_400_000_000


def last_seen(
    table: TrainableTable, now: Int64Array, end_us: int, before: tuple[Int64Array, Int64Array] | None
) -> Int64Array:
    """The end of the last window in which each ID of a table was seen, microseconds, int64 [n].

    Args:
        table: Has rows for all IDs of `now` and `before`.
        now: int64 [m], IDs of this window.
        end_us: Its end.
        before: IDs int64 [k], ascending, and when they were last seen int64 [k], as the parent knows it.
    """
    seen = np.full(len(table.ids), end_us, np.int64)
    if before is not None:
        ids, moments = before
        seen[np.searchsorted(table.ids, ids)] = moments
        seen[table.places(now) - 1] = end_us
    return seen


def retire(
    table: TrainableTable, seen: Int64Array, end_us: int, after_days: float | None
) -> tuple[TrainableTable, Int64Array]:
    """Drop the rows of who was last seen `after_days` before `end_us` or earlier; None: never.

    Who comes back is new again: they start from the out-of-vocabulary row.

    Args:
        table: The table; it is not changed.
        seen: As `last_seen` gives it.
        end_us: End of the window that is about to be learned.
        after_days: How long a row stays.

    Returns:
        The table and when its IDs were last seen.
    """
    if after_days is None:
        return table, seen
    kept = seen > end_us - after_days * _DAY_US
    if kept.all():
        return table, seen
    return table.kept(kept), seen[kept]
