"""Histories of a few users out of a saved `HistoryState`, without reading those of all others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
KINDS_FILE = "kinds.npy"
"""There where histories say which event each was."""


class PastEvents(NamedTuple):
    """Events of several users, int64 [n] each, in no order across users and in time order within one."""

    users: Int64Array
    items: Int64Array
    times_us: Int64Array
    kinds: Int64Array | None = None
    """As `Histories` has them."""

    def in_time_order(self) -> PastEvents:
        """The same, across users too."""
        order = np.argsort(self.times_us, kind="stable")
        kinds = None if self.kinds is None else self.kinds[order]
        return PastEvents(self.users[order], self.items[order], self.times_us[order], kinds)

    @classmethod
    def stack(cls, parts: Sequence[PastEvents]) -> PastEvents:
        """The events of all parts (one at least), of which either all or none have kinds."""
        told = [part.kinds for part in parts if part.kinds is not None]
        return cls(
            np.concatenate([part.users for part in parts]),
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.times_us for part in parts]),
            np.concatenate(told) if told else None,
        )


class SavedHistories:
    """What `HistoryState.save` wrote, memory-mapped; opening it reads the users' IDs alone."""

    def __init__(self, folder: Path) -> None:
        self._users, self._items, self._times, self._totals = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("users", "items", "times", "totals")
        )
        self._rings = [self._items, self._times]
        if (kinds := folder / KINDS_FILE).exists():
            self._rings.append(np.load(kinds, mmap_mode="r", allow_pickle=False))
        self._pending = np.load(folder / "pending.npy", allow_pickle=False)
        self._order = np.argsort(self._users, kind="stable")
        self.length: int = self._items.shape[1]
        """Most events of a user."""

    def of(self, user_ids: Int64Array) -> PastEvents:
        """The last events, up to `length`, of distinct `user_ids` (int64 [n], ascending)."""
        slots = self._slots(user_ids)
        totals = np.asarray(self._totals[slots])
        counts = np.minimum(totals, self.length)
        owner = np.repeat(np.arange(len(slots)), counts)
        ordinal = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = (totals[owner] - counts[owner] + ordinal) % self.length
        at = slots[owner]
        rings = np.stack([self._users[at], *(ring[at, place] for ring in self._rings)])
        waiting = self._pending[:, np.isin(self._pending[0], user_ids)]
        return PastEvents(*np.concatenate([rings, waiting], axis=1))

    def _slots(self, user_ids: Int64Array) -> Int64Array:
        position = np.searchsorted(self._users, user_ids, sorter=self._order)
        slots = self._order.take(position, mode="clip") if len(self._order) else np.empty(0, np.int64)
        return slots[self._users[slots] == user_ids] if len(slots) else slots
