"""ID tables while they are trained: rows in memory, each with its share of the optimiser's state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pagoda.embeddings.shared_rows import shared_places, shared_sums
from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.embeddings.table import IdTable

OOV = 0
"""Place of the out-of-vocabulary row; the row of the i-th ID in sorted order is at place i + 1. The places after these
are of IDs that share rows, and no places of rows."""
_SCALE = 0.05
"""Standard deviation of what new rows differ by from the out-of-vocabulary row that served their IDs until now."""

Int64Array = NDArray[np.int64]
NO_IDS = np.empty(0, np.int64)
_BLOCK_ROWS = 1 << 16
"""Rows drawn at a time: PyTorch draws 16 numbers at once, and so many rows are a multiple of that whatever their
length, so that all blocks together are what one draw gives."""


@dataclass(frozen=True)
class RowSums:
    """What is at places of a table where some of them are sums of rows that others have, too."""

    rows: Tensor
    """int64 [k]: the distinct rows."""
    terms: Tensor
    """int64 [t]: which of `rows` each place sums, place by place."""
    starts: Tensor
    """int64 [m]: where each place's begin in `terms`."""

    def of(self, rows: Tensor) -> Tensor:
        """The sums float32 [m, dim] of `rows` [k, dim]."""
        return functional.embedding_bag(self.terms, rows, self.starts, mode="sum")


class TrainableTable:
    """Rows by ID; the vocabulary is fixed when the table is made."""

    def __init__(
        self, ids: Int64Array, rows: Tensor, squares: Tensor, *, shared: int = 0, sharing: Int64Array = NO_IDS
    ) -> None:
        """Take over the parts.

        Args:
            ids: int64 [n], strictly increasing: who has a row of their own.
            rows: float32 [1 + n + shared, dim], the out-of-vocabulary row first.
            squares: float32 [1 + n + shared], row-wise Adagrad's sums of squared gradients.
            shared: How many rows all others share; 0: these have the out-of-vocabulary row.
            sharing: int64 [s], strictly increasing: which others have a place, so that they are told apart.
        """
        self.ids, self.rows, self.squares = ids, rows, squares
        self.shared, self.sharing = shared, sharing
        self._search, self._search_sharing = SortedIds(ids), SortedIds(sharing)

    def __len__(self) -> int:
        """How many places there are."""
        return 1 + len(self.ids) + len(self.sharing)

    @classmethod
    def first(
        cls,
        ids: Int64Array,
        dim: int,
        generator: torch.Generator,
        *,
        shared: int = 0,
        elsewhere: Int64Array = NO_IDS,
    ) -> TrainableTable:
        """A table for `ids` (int64 [n], any order) before any training; the out-of-vocabulary row is zero.

        `elsewhere` is as for `grown`.
        """
        empty = cls(NO_IDS, torch.zeros(1 + shared, dim), torch.zeros(1 + shared), shared=shared)
        return empty.renewed(np.arange(shared), generator).grown(ids, generator, elsewhere=elsewhere)

    @classmethod
    def of(cls, table: IdTable, squares: NDArray[np.float32], which: NDArray[np.bool_] | None = None) -> TrainableTable:
        """A published table with its optimiser's state (as in `squares` above), or `which` of its IDs, bool [n]."""
        kept = slice(None) if which is None else which
        ids, shared, every = np.array(table.ids[kept]), len(table.shared), 1 + len(table)
        own = 1 + len(ids)
        rows = torch.empty(own + shared, table.dim)
        rows[OOV] = torch.from_numpy(table.oov)
        rows.numpy()[1:own], rows.numpy()[own:] = table.rows[kept], table.shared
        parts = squares[:1], squares[1:every][kept], squares[every:]
        return cls(ids, rows, torch.from_numpy(np.concatenate(parts)), shared=shared)

    def grown(self, ids: Int64Array, generator: torch.Generator, *, elsewhere: Int64Array = NO_IDS) -> TrainableTable:
        """A table that has rows for `ids` (int64 [n], any order) too; new ones start near what stood for them.

        Of IDs whose rows another process has (`elsewhere`, int64 [k], any order) only the draws are made, so that a row
        begins the same however many processes share a table.
        """
        merged = np.union1d(self.ids, ids)
        own = np.searchsorted(merged, self.ids) + 1
        old = np.concatenate([[OOV], own, len(merged) + 1 + np.arange(self.shared)])
        here = np.isin(np.union1d(merged, elsewhere), merged)
        drawn = _drawn(np.concatenate([[True], here, np.ones(self.shared, np.bool_)]), self.rows.shape[1], generator)
        rows = self.rows[OOV] + _SCALE * drawn
        if self.shared:
            added = np.setdiff1d(merged, self.ids)
            places = torch.from_numpy(np.searchsorted(merged, added) + 1)
            rows[places] += torch.from_numpy(self.lookup(added)[0]) - self.rows[OOV]
        squares = torch.zeros(len(rows))
        rows[old], squares[old] = self.rows, self.squares
        return TrainableTable(merged, rows, squares, shared=self.shared)

    def renewed(self, shared: Int64Array, generator: torch.Generator) -> TrainableTable:
        """A table whose shared rows of these numbers (int64 [k]) have learned nothing: two sum to one near zero."""
        rows, squares, places = self.rows.clone(), self.squares.clone(), 1 + len(self.ids) + shared
        rows[places] = _SCALE * 2**-0.5 * torch.randn(len(shared), rows.shape[1], generator=generator)
        squares[places] = 0
        return TrainableTable(self.ids, rows, squares, shared=self.shared)

    def kept(self, which: NDArray[np.bool_]) -> TrainableTable:
        """The rows of some IDs (bool [n]), the shared ones and the out-of-vocabulary row."""
        own, last = np.flatnonzero(which) + 1, len(self.ids) + 1 + np.arange(self.shared)
        places = torch.from_numpy(np.concatenate([[OOV], own, last]))
        return TrainableTable(self.ids[which], self.rows[places], self.squares[places], shared=self.shared)

    def with_places_for(self, ids: Int64Array) -> TrainableTable:
        """The same table in which those of `ids` (int64 [n]) without a row have places, one each."""
        sharing = np.setdiff1d(ids, self.ids)
        return TrainableTable(self.ids, self.rows, self.squares, shared=self.shared, sharing=sharing)

    def places(self, ids: Int64Array) -> Int64Array:
        """Where `ids` are, int64 shaped like `ids`; `OOV` for an ID that has no place."""
        flat = ids.ravel()
        position, found = self._search.find(flat)
        places = np.where(found, position + 1, OOV)
        if len(self.sharing):
            position, found = self._search_sharing.find(flat)
            places[found] = 1 + len(self.ids) + position[found]
        return places.reshape(ids.shape)

    def id_at(self, place: int) -> int:
        """The ID at a place that is not `OOV`."""
        own = len(self.ids)
        return int(self.ids[place - 1] if place <= own else self.sharing[place - 1 - own])

    def sums(self, places: Int64Array) -> RowSums | None:
        """Which rows are at distinct `places` int64 [m]; None where nobody shares: one each, at its place."""
        if not len(self.sharing):
            return None
        own = len(self.ids)
        shares = places > own
        ids = self.sharing[places[shares] - 1 - own]
        parts = 1 + own + shared_places(ids, self.shared) if self.shared else np.full((len(ids), 1), OOV)
        counts = np.where(shares, parts.shape[1], 1)
        terms = np.repeat(places, counts)
        terms[np.repeat(shares, counts)] = parts.ravel()
        rows, terms = np.unique(terms, return_inverse=True)
        return RowSums(*(torch.from_numpy(array) for array in (rows, terms, np.cumsum(counts) - counts)))

    def lookup(self, ids: Int64Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """As `IdTable.lookup`: the rows of `ids` as they are now, and which have one of their own."""
        position, found = self._search.find(ids)
        rows = self.rows[torch.from_numpy(np.where(found, position + 1, OOV))].numpy(force=True)
        if self.shared and not found.all():
            every = self.rows.numpy(force=True)
            rows[~found] = shared_sums(ids[~found], every[1 + len(self.ids) :], every[OOV])
        return rows, found

    def write(self, folder: Path) -> None:
        """Write the rows as an `IdTable`; the optimiser's state is no part of it."""
        rows, own = self.rows.numpy(), 1 + len(self.ids)
        IdTable.write(folder, self.ids, rows[1:own], rows[OOV], rows[own:] if self.shared else None)


def _drawn(kept: NDArray[np.bool_], dim: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers for so many rows, of which only some are kept, float32 [kept, dim]."""
    drawn, done = torch.empty(int(kept.sum()), dim), 0
    for start in range(0, len(kept), _BLOCK_ROWS):
        which = torch.from_numpy(kept[start : start + _BLOCK_ROWS])
        block = torch.randn(len(which), dim, generator=generator)[which]
        drawn[done : done + len(block)] = block
        done += len(block)
    return drawn
