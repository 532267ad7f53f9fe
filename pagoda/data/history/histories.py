"""What each of some rows' users did last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.history.id_slots import Int64Array
from pagoda.data.spec import FeatureSpec

BoolArray = NDArray[np.bool_]


class Padded(NamedTuple):
    """Histories as rectangles [n, length], right-aligned: the last event is in the last column."""

    items: Int64Array
    times_us: Int64Array
    mask: BoolArray
    """True where there is an event; elsewhere all others are 0."""
    kinds: Int64Array | None = None
    """Which event each was; None where histories do not say. See `kinds_of`."""


@dataclass(frozen=True)
class Histories:
    """The histories of n rows as ranges `starts[i]:ends[i]` of shared sequences: no event is copied for each row."""

    length: int
    items: Int64Array
    times_us: Int64Array
    starts: Int64Array
    ends: Int64Array
    kinds: NDArray[np.int16] | None = None
    """Of each of the shared events; None where histories do not say."""

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: NDArray[np.integer] | slice) -> Histories:
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
            return Padded(empty, empty, mask, None if self.kinds is None else empty)
        places = np.where(mask, places, 0)
        kinds = None if self.kinds is None else np.where(mask, self.kinds[places].astype(np.int64), 0)
        return Padded(np.where(mask, self.items[places], 0), np.where(mask, self.times_us[places], 0), mask, kinds)


def kinds_of(events: pa.Array, spec: FeatureSpec) -> NDArray[np.int16] | None:
    """Which of the history's events each is, int16 [n]: its place among them from 1 on, 0 for none of them.

    None where histories do not say (`FeatureSpec.embeds_events`).
    """
    if not spec.embeds_events:
        return None
    places = pc.index_in(events, value_set=pa.array(spec.history_events, pa.string()))
    return np.asarray(pc.fill_null(pc.add(places, 1), 0), np.int16)
