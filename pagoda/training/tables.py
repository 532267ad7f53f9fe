"""ID tables while they are trained: rows in memory, each with its share of the optimiser's state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.embeddings.table import IdTable

OOV = 0
"""Place of the out-of-vocabulary row; the row of the i-th ID in sorted order is at place i + 1."""
_SCALE = 0.05
"""Standard deviation of what new rows differ by from the out-of-vocabulary row that served their IDs until now."""

Int64Array = NDArray[np.int64]
NO_IDS = np.empty(0, np.int64)
_BLOCK_ROWS = 1 << 16
"""Rows drawn at a time: PyTorch draws 16 numbers at once, and so many rows are a multiple of that whatever their
length, so that all blocks together are what one draw gives."""


class TrainableTable:
    """Rows by ID; the vocabulary is fixed when the table is made."""

    def __init__(self, ids: Int64Array, rows: Tensor, squares: Tensor) -> None:
        """Take over the parts.

        Args:
            ids: int64 [n], strictly increasing.
            rows: float32 [n + 1, dim], the out-of-vocabulary row first.
            squares: float32 [n + 1], row-wise Adagrad's sums of squared gradients.
        """
        self.ids, self.rows, self.squares = ids, rows, squares
        self._search = SortedIds(ids)

    @classmethod
    def first(
        cls, ids: Int64Array, dim: int, generator: torch.Generator, *, elsewhere: Int64Array = NO_IDS
    ) -> TrainableTable:
        """A table for `ids` (int64 [n], any order) before any training; the out-of-vocabulary row is zero.

        `elsewhere` is as for `grown`.
        """
        empty = cls(NO_IDS, torch.zeros(1, dim), torch.zeros(1))
        return empty.grown(ids, generator, elsewhere=elsewhere)

    @classmethod
    def of(cls, table: IdTable, squares: NDArray[np.float32], which: NDArray[np.bool_] | None = None) -> TrainableTable:
        """A published table with its optimiser's state (as in `squares` above), or `which` of its rows, bool [n]."""
        kept = slice(None) if which is None else which
        ids = np.array(table.ids[kept])
        rows = torch.empty(len(ids) + 1, table.dim)
        rows[OOV] = torch.from_numpy(table.oov)
        rows.numpy()[1:] = table.rows[kept]
        return cls(ids, rows, torch.from_numpy(np.append(squares[:1], squares[1:][kept])))

    def grown(self, ids: Int64Array, generator: torch.Generator, *, elsewhere: Int64Array = NO_IDS) -> TrainableTable:
        """A table that has rows for `ids` (int64 [n], any order) too; new ones start near the out-of-vocabulary row.

        Of IDs whose rows another process has (`elsewhere`, int64 [k], any order) only the draws are made, so that a row
        begins the same however many processes share a table.
        """
        merged = np.union1d(self.ids, ids)
        old = np.concatenate([[OOV], np.searchsorted(merged, self.ids) + 1])
        here = np.isin(np.union1d(merged, elsewhere), merged)
        drawn = _drawn(np.concatenate([[True], here]), self.rows.shape[1], generator)
        rows = self.rows[OOV] + _SCALE * drawn
        squares = torch.zeros(len(merged) + 1)
        rows[old], squares[old] = self.rows, self.squares
        return TrainableTable(merged, rows, squares)

    def kept(self, which: NDArray[np.bool_]) -> TrainableTable:
        """The rows of some IDs (bool [n]) and the out-of-vocabulary row."""
        places = torch.from_numpy(np.concatenate([[OOV], np.flatnonzero(which) + 1]))
        return TrainableTable(self.ids[which], self.rows[places], self.squares[places])

    def places(self, ids: Int64Array) -> Int64Array:
        """Where the rows of `ids` are, int64 shaped like `ids`; `OOV` for an ID that has none."""
        flat = ids.ravel()
        position, found = self._search.find(flat)
        return np.where(found, position + 1, OOV).reshape(ids.shape)

    def lookup(self, ids: Int64Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """As `IdTable.lookup`: the rows of `ids` as they are now, and which have one of their own."""
        places = self.places(ids)
        return self.rows[torch.from_numpy(places)].numpy(force=True), places != OOV

    def write(self, folder: Path) -> None:
        """Write the rows as an `IdTable`; the optimiser's state is no part of it."""
        rows = self.rows.numpy()
        IdTable.write(folder, self.ids, rows[1:], rows[OOV])


def _drawn(kept: NDArray[np.bool_], dim: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers for so many rows, of which only some are kept, float32 [kept, dim]."""
    drawn, done = torch.empty(int(kept.sum()), dim), 0
    for start in range(0, len(kept), _BLOCK_ROWS):
        which = torch.from_numpy(kept[start : start + _BLOCK_ROWS])
        block = torch.randn(len(which), dim, generator=generator)[which]
        drawn[done : done + len(block)] = block
        done += len(block)
    return drawn
