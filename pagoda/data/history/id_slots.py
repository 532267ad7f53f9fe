"""A growing map from int64 IDs to dense slot numbers, looked up by the array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]

MISSING = -1
"""Slot of an ID that has none."""


class Slots:
    """IDs get slots 0, 1, 2 … in the order of their arrival; a slot never moves.

    Kept as two sorted arrays (16 bytes an ID) rather than a dict (about 100), and looked up by binary search.
    """

    def __init__(self, ids: Int64Array | None = None) -> None:
        """Start with distinct `ids` (int64 [n]) in slots 0 to n-1."""
        start = np.empty(0, np.int64) if ids is None else np.asarray(ids, np.int64)
        self._slots = np.argsort(start, kind="stable")
        self._sorted = start[self._slots]

    def __len__(self) -> int:
        return len(self._sorted)

    def ids(self) -> Int64Array:
        """All IDs in slot order, int64 [n]."""
        ids = np.empty(len(self), np.int64)
        ids[self._slots] = self._sorted
        return ids

    def find(self, ids: Int64Array) -> Int64Array:
        """The slot of each ID, `MISSING` where it has none. int64, shaped like `ids`."""
        if not len(self):
            return np.full(np.shape(ids), MISSING, np.int64)
        place = np.minimum(np.searchsorted(self._sorted, ids), len(self) - 1)
        return np.where(self._sorted[place] == ids, self._slots[place], MISSING)

    def add(self, ids: Int64Array) -> int:
        """Give slots to those of `ids` that have none, in sorted order of ID; return how many were new."""
        distinct = np.unique(ids)
        new = distinct[self.find(distinct) == MISSING]
        if len(new):
            place = np.searchsorted(self._sorted, new)
            self._slots = np.insert(self._slots, place, len(self) + np.arange(len(new)))
            self._sorted = np.insert(self._sorted, place, new)
        return len(new)
