"""What one process mines: for a slice of the users, of whom alone it holds what they did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.history.history_state import HistoryState
from pagoda.data.history.seen_items import SeenState
from pagoda.data.window import Window, to_us
from pagoda.model.table_inputs import histories_at, no_histories
from pagoda.processes.shared import Shared
from pagoda.training.negatives.mined_file import write_mined
from pagoda.updates.mining.searches import NearestItems, Search, search_of
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenTowers, OpenVersion

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Items = Shared[tuple[Int64Array, Float32Array]]
"""IDs int64 [i], ascending, and vectors float32 [i, dim]."""
STRIDE = 4096
"""Users whose vectors are computed at a time: profiles are read once for them."""
_ASKED = 512
"""Of them, those who are searched for at a time."""


@dataclass(frozen=True)
class Mining:
    """What is mined, as all processes are told."""

    dataset: Dataset
    files: FullVersionFiles
    until: datetime
    ranks: tuple[int, int]
    items: Items


@dataclass(frozen=True)
class UserSlice:
    """Some of the users."""

    mining: Mining
    users: Int64Array
    """int64 [n], ascending."""
    out: Path
    """A new file of `write_mined`."""


def mine_slice(part: UserSlice, search: Search | None = None) -> int:
    """Mine for a slice of the users and return the number of rows.

    What it writes does not depend on who else is mined for, but where a slice ends inside of a stride.
    """
    mining = part.mining
    towers = OpenVersion(mining.files, mining.dataset)
    ids, vectors = mining.items.open()
    asking = _Asking(
        towers,
        _Had(_seen(part), ids, to_us(mining.until)),
        _histories(part),
        search_of(towers.cascade, ids, vectors, search),
        mining.ranks,
    )
    return write_mined(part.out, asking.of(part.users))


class _Had(NamedTuple):
    """What users had before a moment, of a catalogue int64 [i], ascending."""

    seen: SeenState
    catalogue: Int64Array
    until_us: int

    def among(self, users: Int64Array, found: Int64Array) -> NDArray[np.bool_]:
        """Which of the items found for each user, int64 [q, k], the user had."""
        rows, items = self.seen.seen(users, np.full(len(users), self.until_us))
        keys = [
            row * len(self.catalogue) + np.searchsorted(self.catalogue, item)
            for row, item in ((rows, items), (np.arange(len(found))[:, None], found))
        ]
        return np.isin(keys[1], keys[0])

    def most(self, users: Int64Array) -> int:
        """How many distinct items one of the users had at most, or somewhat more."""
        rows, _ = self.seen.seen(users, np.full(len(users), self.until_us))
        return min(int(np.bincount(rows, minlength=1).max()), len(self.catalogue))


class _Asking:
    def __init__(
        self, towers: OpenTowers, had: _Had, state: HistoryState | None, search: Search, ranks: tuple[int, int]
    ) -> None:
        self._towers, self._had, self._state, self._search, self._ranks = towers, had, state, search, ranks

    def of(self, users: Int64Array) -> Iterator[tuple[Int64Array, Int64Array, Int64Array]]:
        """Users, items and ranks of what is found for `users`, int64 [m] each, for some after others."""
        for at in range(0, len(users), STRIDE):
            stride = users[at : at + STRIDE]
            moments = np.full(len(stride), self._had.until_us)
            histories: Histories = self._state.read(stride, moments) if self._state else no_histories(len(stride))
            vectors = self._towers.user_vectors(stride, moments, histories)
            for start in range(0, len(stride), _ASKED):
                yield self._ranked(stride[start : start + _ASKED], vectors[start : start + _ASKED])

    def _ranked(self, users: Int64Array, vectors: Float32Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        first, last = self._ranks
        # So many more than wanted that enough are left without those that the users had.
        found = self._found(vectors, last + self._had.most(users))
        new = (found >= 0) & ~self._had.among(users, found)
        rank = np.cumsum(new, 1)
        wanted = new & (rank >= first) & (rank <= last)
        row, column = np.nonzero(wanted)
        return users[row], found[row, column], rank[row, column].astype(np.int64)

    def _found(self, vectors: Float32Array, k: int) -> Int64Array:
        """IDs int64 [q, at most k] of what is best by any of a user's vectors, [q, dim] or [q, interests, dim]."""
        found = self._search(vectors.reshape(-1, vectors.shape[-1]), k)
        return found.ids if vectors.ndim == found.ids.ndim else _merged(found, len(vectors))[:, :k]


def _merged(found: NearestItems, users: int) -> Int64Array:
    """IDs int64 [users, m] of what all queries of each user found, each item once, where it scored best."""
    ids, scores = found.ids.reshape(users, -1), found.scores.reshape(users, -1)
    order = np.lexsort((-scores, ids), axis=1)
    ids, scores = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
    again = np.zeros(ids.shape, np.bool_)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    ids[again], scores[again] = -1, -np.inf
    return np.take_along_axis(ids, np.argsort(-scores, axis=1, kind="stable"), 1)


def _histories(part: UserSlice) -> HistoryState | None:
    """Of these users as of the moment, from the version's own as far as it has them."""
    mining = part.mining
    end = mining.files.lineage.window.end

    def whose(users: Int64Array) -> NDArray[np.bool_]:
        return np.isin(users, part.users)

    if mining.until < end or not mining.files.state.is_dir():
        return histories_at(mining.dataset, mining.until, None, None, whose)
    return histories_at(mining.dataset, mining.until, mining.files.history(whose), end, whose)


def _seen(part: UserSlice) -> SeenState:
    """What these users had before the moment."""
    dataset, seen = part.mining.dataset, SeenState(part.users)
    window = Window(start=dataset.span().start, end=part.mining.until)
    columns = ["user_id", "item_id", "timestamp"]
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=columns):
        ids, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
        seen.push(ids, items, batch.column("timestamp").cast(pa.int64()).to_numpy())
    return seen
