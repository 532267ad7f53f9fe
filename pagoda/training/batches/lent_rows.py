"""What training gives the item tower for items without a row: means of their categories as they are at that step.

Means over all rows would cost a pass over the table at each step; a few dozen rows of each category that a batch needs,
drawn as the means weigh them, have the same expectation. No gradient reaches the rows that are lent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.embeddings.category_means import UNKNOWN, kept_of_mean
from pagoda.training.tables import OOV

Int64Array = NDArray[np.int64]
_DRAWN = 32
"""Rows that stand for a category's: the mean of so many is off by a sixth of what its rows differ by."""
_SHARE = 0.5
"""Of items without a row. The others have the out-of-vocabulary row, since an item of no known category has it too."""


@dataclass(frozen=True)
class LentRows:
    """What stands for h items of a batch."""

    drawn: Tensor
    """int64 [c, drawn]: places of rows in the table, of each category."""
    kept: Tensor
    """float32 [c, 1]: how much of their mean stays; the rest is the out-of-vocabulary row's."""
    categories: Tensor
    """int64 [h, width]: which of the c are each item's; -1 pads. One at least."""

    @torch.no_grad()
    def rows(self, table: Tensor) -> Tensor:
        """The rows float32 [h, dim], as those of the `table` [n, dim] are now."""
        means = self.kept * table[self.drawn].mean(1) + (1 - self.kept) * table[OOV]
        there = self.categories >= 0
        rows = means[self.categories.clamp(min=0)] * there[..., None]
        return rows.sum(1) / there.sum(1, keepdim=True)


class Lender:
    """Draws the rows that stand for items without one."""

    def __init__(
        self, places: Int64Array, categories: Int64Array, weights: NDArray[np.float64], *, share: float = _SHARE
    ) -> None:
        """Make one for a catalogue of i items.

        Args:
            places: int64 [i], in the item table.
            categories: int64 [i] or [i, width]: their indices, 0 and below for none.
            weights: float64 [i], above 0: what each counts among its categories' items that have a row.
            share: Of the items without a row that are lent one.
        """
        self._lists, self._share = np.sort(categories.reshape(len(categories), -1), axis=1), share
        self._lists[:, 1:][self._lists[:, 1:] == self._lists[:, :-1]] = UNKNOWN  # What a list says twice counts once.
        item, column = np.nonzero((self._lists > UNKNOWN) & (places != OOV)[:, None])
        order = np.argsort(self._lists[item, column], kind="stable")
        of = self._lists[item, column][order]
        self._places, self._sums = places[item[order]], np.cumsum(weights[item[order]])
        size = int(self._lists.max(initial=UNKNOWN)) + 2
        self._starts = np.searchsorted(of, np.arange(size))

    def draw(self, items: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, LentRows | None]:
        """Lend rows to a share of `items`, int64 [n], places in the catalogue of items that come without a row.

        Returns:
            Which of the items, int64 [h], and their rows; None where h is 0.
        """
        lists = np.maximum(self._lists[items], UNKNOWN)
        lists = np.where(self._starts[lists + 1] > self._starts[lists], lists, UNKNOWN)
        chosen = np.flatnonzero((lists > UNKNOWN).any(1) & (rng.random(len(items)) < self._share))
        if not len(chosen):
            return chosen, None
        lists = lists[chosen]
        found, number = np.unique(lists[lists > UNKNOWN], return_inverse=True)
        numbers = np.full(lists.shape, -1)
        numbers[lists > UNKNOWN] = number
        starts, ends = self._starts[found], self._starts[found + 1]
        kept = kept_of_mean((ends - starts).astype(np.float64))[:, None]
        return chosen, LentRows(
            torch.from_numpy(self._places[self._drawn(starts, ends, rng)]),
            torch.from_numpy(kept.astype(np.float32)),
            torch.from_numpy(numbers),
        )

    def _drawn(self, starts: Int64Array, ends: Int64Array, rng: np.random.Generator) -> Int64Array:
        """Which members of each category stand for it, int64 [c, drawn], each in proportion to its weight."""
        below = np.where(starts > 0, self._sums[starts - 1], 0.0)[:, None]
        points = below + (self._sums[ends - 1][:, None] - below) * rng.random((len(starts), _DRAWN))
        drawn: Int64Array = np.searchsorted(self._sums, points, side="right")
        return np.clip(drawn, starts[:, None], ends[:, None] - 1)
