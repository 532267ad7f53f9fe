"""Which part of a training is one process's, where several train one version together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.data.ids import user_places

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """What the `rank`-th of `count` processes has."""

    rank: int = 0
    count: int = 1

    def has(self, users: Int64Array) -> NDArray[np.bool_]:
        """Which users (int64 [n], IDs) are this process's, bool [n]: dealt by a hash, so that each has as many."""
        if self.count == 1:
            return np.ones(len(users), np.bool_)
        mine: NDArray[np.bool_] = (user_places(users) * self.count).astype(np.int64) == self.rank
        return mine

    def part(self, size: int) -> slice:
        """Which of so many things in a row are this process's: as many as anybody's, of the last ones what is left."""
        each = self.each(size)
        return slice(min(self.rank * each, size), min((self.rank + 1) * each, size))

    def each(self, size: int) -> int:
        """How many of so many things a process has at most."""
        return -(-size // self.count)


WHOLE = Share()
"""Of the one process that trains alone."""
