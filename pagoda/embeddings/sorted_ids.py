"""Search in sorted, memory-mapped IDs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.embeddings.array_files import BLOCK_ROWS

_STRIDE = 64
"""One ID in 64 is kept in memory (1.25 MB for 10 M): a search touches one page of the file, cold or warm."""
_PLAIN = 1 << 17
"""Up to here the IDs fit the processor's cache, and numpy's own search is faster than two steps."""
_QUERIES = 4096
"""IDs searched at once: bounds the gathered windows to 2 MB, which stay in the cache."""


class SortedIds:
    """Finds IDs in a strictly increasing int64 array; a large one gets a small in-memory fence over the mapped file."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._ids = ids
        self._fence: NDArray[np.int64] | None = None
        if len(ids) > _PLAIN:
            self._fence = ids[::_STRIDE].copy()
            self._fence[0] = np.iinfo(np.int64).min  # every ID lies in some window, so no position is negative
            self._windows = np.lib.stride_tricks.sliding_window_view(ids, _STRIDE)

    def find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where each of `ids` [n] is: positions int64 [n] and found bool [n].

        An unfound ID's position means nothing, and may be one past the end.
        """
        if not len(self._ids):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
        positions = self._ids.searchsorted(ids) if self._fence is None else self._fenced(ids, self._fence)
        return positions, self._ids.take(positions, mode="clip") == ids

    def _fenced(self, ids: NDArray[np.int64], fence: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(ids) > _QUERIES:
            parts = (ids[start : start + _QUERIES] for start in range(0, len(ids), _QUERIES))
            return np.concatenate([self._fenced(part, fence) for part in parts])
        starts = np.minimum((fence.searchsorted(ids, side="right") - 1) * _STRIDE, len(self._windows) - 1)
        # The fancy index copies 512 bytes an ID; `take` would first make the whole strided view contiguous.
        # `add.reduce` rather than `count_nonzero`, which spends twice as long in its Python wrapper as in counting.
        smaller: NDArray[np.int64] = np.add.reduce(self._windows[starts] < ids[:, None], axis=1)
        return starts + smaller


def check_increasing(ids: NDArray[np.int64]) -> int | None:
    """Return the first position whose ID is not greater than the one before it, reading in blocks; None if sorted."""
    for start in range(0, len(ids), BLOCK_ROWS):
        first = max(start - 1, 0)
        block = ids[first : start + BLOCK_ROWS]
        wrong = np.flatnonzero(block[1:] <= block[:-1])
        if len(wrong):
            return first + int(wrong[0]) + 1
    return None
