"""Pairs of a user and an item, as places in their tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Users (places in their table) and items (places in the catalogue), int64 [n] each."""

    users: Int64Array
    items: Int64Array

    @classmethod
    def of(cls, keys: Int64Array) -> Pairs:
        """Pairs from their `keys`."""
        return cls(keys >> 32, keys & 0xFFFFFFFF)

    @property
    def keys(self) -> Int64Array:
        """Each pair as one number, int64 [n]; no place reaches 2^31."""
        return self.users << 32 | self.items

    def without(self, other: Pairs) -> Pairs:
        """Those that `other` lacks, each once."""
        return Pairs.of(np.setdiff1d(self.keys, other.keys))


NO_PAIRS = Pairs(*np.empty((2, 0), np.int64))
