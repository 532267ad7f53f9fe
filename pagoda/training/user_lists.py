"""Lists of a user's own, of which some are drawn at each positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]


class UserLists:
    """Lists one after the other, by user; each in random order, so that a run is a draw without replacement."""

    def __init__(self, lengths: Int64Array) -> None:
        """Make lists of `lengths`, int64 [users]; see `of`."""
        self._lengths, self._starts = lengths, np.cumsum(lengths) - lengths

    @classmethod
    def of(cls, owners: Int64Array, users: int, seed: int) -> tuple[UserLists, Int64Array]:
        """Lay out rows by `owners` (int64 [n], places in a table of so many `users`), and return their order too."""
        order = np.lexsort((np.random.default_rng(seed).random(len(owners)), owners))
        return cls(np.bincount(owners, minlength=users)), order

    def lengths(self, users: Int64Array) -> Int64Array:
        """How many rows each of `users` has, int64 [B]."""
        return self._lengths[users]

    def draw(self, users: Int64Array, count: int, rng: np.random.Generator) -> Int64Array:
        """Draw rows for each of `users`: places in the order, int64 [B, count], -1 where a list has no more."""
        lengths = self._lengths[users, None]
        run = (rng.random((len(users), 1)) * lengths).astype(np.int64) + np.arange(count)
        places = self._starts[users, None] + run % np.maximum(lengths, 1)
        return np.where(np.arange(count) < lengths, places, -1)
