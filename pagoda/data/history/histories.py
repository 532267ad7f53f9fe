"""What each of some rows' users did last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pagoda.data.history.id_slots import Int64Array

BoolArray = NDArray[np.bool_]


class Padded(NamedTuple):
    """Histories as rectangles [n, length], right-aligned: the last event is in the last column."""

    items: Int64Array
    times_us: Int64Array
    mask: BoolArray
    """True where there is an event; elsewhere items and times are 0."""


@dataclass(frozen=True)
class Histories:
    """The histories of n rows as ranges `starts[i]:ends[i]` of shared sequences: no event is copied for each row."""

    length: int
    items: Int64Array
    times_us: Int64Array
    starts: Int64Array
    ends: Int64Array

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: NDArray[np.integer]) -> Histories:
        """The histories of some rows."""
        return replace(self, starts=self.starts[rows], ends=self.ends[rows])

    def last(self, length: int) -> Histories:
        """The histories cut to their last `length` events."""
        return replace(self, length=length, starts=np.maximum(self.starts, self.ends - length))

    def padded(self) -> Padded:
        """The histories as arrays [n, length]."""
        places = self.ends[:, None] + np.arange(-self.length, 0)
        return self.at(places, places >= self.starts[:, None])

    def at(self, places: Int64Array, mask: BoolArray) -> Padded:
        """The events at places of the shared sequences, both [n, length]; where `mask` is false, there is none."""
        if not len(self.items):
            empty = np.zeros(places.shape, np.int64)
            return Padded(empty, empty, mask)
        places = np.where(mask, places, 0)
        return Padded(np.where(mask, self.items[places], 0), np.where(mask, self.times_us[places], 0), mask)
