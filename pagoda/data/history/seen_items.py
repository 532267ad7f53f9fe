"""Which items each user has had as of any moment, so that answers can leave them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pagoda.data.history.id_slots import Int64Array


class _Events(NamedTuple):
    users: Int64Array
    items: Int64Array
    times_us: Int64Array


@dataclass
class SeenState:
    """Which items each user has had, for exclusion; memory follows the distinct interactions of the users kept."""

    users: Int64Array | None = None
    """Keep only these users (default: all): an evaluation asks about its own users alone."""
    _parts: list[_Events] = field(default_factory=lambda: [_Events(*np.empty((3, 0), np.int64))])

    def push(self, user_ids: Int64Array, item_ids: Int64Array, timestamps_us: Int64Array) -> None:
        """Take in interactions, in any order."""
        kept = slice(None) if self.users is None else np.isin(user_ids, self.users)
        self._parts.append(_Events(user_ids[kept], item_ids[kept], timestamps_us[kept]))

    def seen(self, user_ids: Int64Array, timestamps_us: Int64Array) -> tuple[Int64Array, Int64Array]:
        """What each row's user had at timestamps strictly before the row's own.

        Returns:
            Pairs (row, item ID), int64 [m] each, ordered by row; an item had twice appears twice.
        """
        by_user = self._consolidated()
        first = np.searchsorted(by_user.users, user_ids, "left")
        last = np.searchsorted(by_user.users, user_ids, "right")
        counts = last - first
        row = np.repeat(np.arange(len(user_ids)), counts)
        place = np.arange(len(row)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        earlier = by_user.times_us[place] < timestamps_us[row]
        return row[earlier], by_user.items[place[earlier]]

    def _consolidated(self) -> _Events:
        if len(self._parts) > 1:
            events = _Events(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))
            order = np.argsort(events.users, kind="stable")
            self._parts = [_Events(*(array[order] for array in events))]
        return self._parts[0]
