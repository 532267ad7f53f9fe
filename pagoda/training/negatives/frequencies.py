"""How often items come in a stream, estimated while it flows: Yi et al., RecSys 2019, section 4.

Nobody counts a stream beforehand, and its popular items change. What can be seen is how many batches lie between two in
which an item is: the mean of that interval is one over the probability that a batch holds the item.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
_MIX = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
_STEP = 0x9E3779B97F4A7C15
_NEVER = -1


class FrequencyEstimator:
    """Hashed arrays of when each item was last seen and of the moving average of its intervals.

    Items that share a bucket shorten each other's interval, so of several hash functions the longest interval counts
    (algorithm 3 of the paper). An average begins as the plain mean of its first intervals: a moving one would take long
    to forget where it began.
    """

    def __init__(self, buckets: int, hashes: int = 2, rate: float = 0.02) -> None:
        """Make one that has seen nothing.

        Args:
            buckets: Of each hash function; costs 24 bytes for each.
            hashes: How many hash functions.
            rate: Least weight of the newest interval: what came 1 / rate intervals ago is nearly forgotten.
        """
        self._rate, self._step = rate, 0
        self._last = np.full((hashes, buckets), _NEVER, np.int64)
        self._interval = np.full((hashes, buckets), np.inf)
        self._count = np.zeros((hashes, buckets), np.int64)

    def observe(self, items: Int64Array) -> None:
        """Take in the items of the next batch, int64 [m]; one that occurs twice counts once."""
        self._step += 1
        for row, places in enumerate(self._places(items)):
            last, count = self._last[row, places], self._count[row, places] + 1
            gap = np.where(last == _NEVER, self._step, self._step - last)
            weight = np.maximum(self._rate, 1 / count)
            before = np.where(count == 1, 0.0, self._interval[row, places])
            # Items in one bucket read and write the same, so the order in which they do does not matter.
            self._interval[row, places] = before + weight * (gap - before)
            self._last[row, places], self._count[row, places] = self._step, count

    def probabilities(self, items: Int64Array) -> Float64Array:
        """Probability that a batch holds each item, float64 [m]; 0 for one that was never seen."""
        places = self._places(items)
        interval: Float64Array = np.take_along_axis(self._interval, places, 1).max(0)
        return 1 / np.maximum(interval, 1.0)

    def believe(self, items: Int64Array, probabilities: Float64Array) -> None:
        """Begin with what is known already: as if each item had come with this probability (0: never) for long."""
        known, chances = items[probabilities > 0], probabilities[probabilities > 0]
        # Buckets hold the shortest interval of their items, which is what they will come to anyway.
        order = np.argsort(chances, kind="stable")
        for row, places in enumerate(self._places(known[order])):
            self._interval[row, places] = 1 / chances[order]
            self._count[row, places] = int(1 / self._rate)
            self._last[row, places] = self._step

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that it knows."""
        arrays = {"last": self._last, "interval": self._interval, "count": self._count}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()} | {
            "step": torch.tensor(self._step)
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        self._last, self._interval, self._count = (state[name].numpy() for name in ("last", "interval", "count"))
        self._step = int(state["step"])

    def _places(self, items: Int64Array) -> Int64Array:
        """Bucket of each item by each hash function, int64 [hashes, m]: splitmix64 with a step for each function."""
        seeds = (np.arange(1, len(self._last) + 1, dtype=np.uint64) * np.uint64(_STEP))[:, None]
        mixed = items.astype(np.uint64)[None] + seeds
        for shift, factor in zip((30, 27), _MIX, strict=True):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
        mixed ^= mixed >> np.uint64(31)
        return (mixed % np.uint64(self._last.shape[1])).astype(np.int64)
