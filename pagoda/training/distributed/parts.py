"""What each process trained, as files; and all of it joined into files that one process maps, and never holds.

A folder holds `rank-0`, `rank-1`, …, each with arrays of users (`users*.npy`, IDs ascending), of a range of items
(`items*.npy`) and histories (`history/`). Nothing of it outlives the update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from pagoda.config.training import TrainConfig
from pagoda.data.history.history_state import HistoryState, join_histories
from pagoda.embeddings.array_files import BLOCK_ROWS
from pagoda.training.examples.stream import Block
from pagoda.training.full.preparation import Prepared
from pagoda.training.learner.learner import Learner
from pagoda.training.learner.state import restore, tensors_of
from pagoda.training.share import WHOLE
from pagoda.training.tables import OOV, TrainableTable
from pagoda.version_files.full import HISTORY, ITEMS, USERS

Int64Array = NDArray[np.int64]
_IDS, _ROWS, _SQUARES, _SEEN = "ids", "rows", "squares", "seen"


def write_part(folder: Path, prepared: Prepared) -> None:
    """Write what this process has into a folder of its own below `folder`."""
    share, learner = prepared.stream.share, prepared.learner
    users = learner.users
    part = _Part(folder / f"rank-{share.rank}")
    part.folder.mkdir(parents=True)
    part.save(USERS, _IDS, users.ids)
    part.save(USERS, _SEEN, prepared.seen[USERS])
    for name, table in ((USERS, users), (ITEMS, learner.items)):
        part.save(name, _ROWS, table.rows.numpy(force=True))
        part.save(name, _SQUARES, table.squares.numpy(force=True))
    if prepared.stream.after is not None:
        prepared.stream.after.save(part.folder / HISTORY)


def joined(folder: Path, prepared: Prepared, config: TrainConfig) -> Prepared:
    """What all processes trained together, as if one had; its tables and histories are mapped files in `folder`.

    Args:
        folder: Where all have written their parts.
        prepared: This process's, whose towers are those of all.
        config: How.
    """
    learner = prepared.learner
    parts = [_Part(folder / f"rank-{rank}") for rank in range(prepared.stream.share.count)]
    users, seen = _users(folder, parts)
    tables = users, _items(folder, parts, learner.items.ids)
    candidates = [member.candidates for member in learner.members]
    plain = Learner(config, learner.towers, *tables, candidates, pace=learner.full_pace)
    restore(plain, tensors_of(learner))
    stream = prepared.stream
    after = None
    if stream.after is not None:
        join_histories([part.folder / HISTORY for part in parts], folder / HISTORY)
        after = HistoryState.load(folder / HISTORY, mapped=True)
    last = _among(stream.last, learner.users, users)
    whole = replace(stream, users=users, items=tables[1], after=after, share=WHOLE, _last=last)
    return replace(prepared, learner=plain, stream=whole, seen={**prepared.seen, USERS: seen})


@dataclass(frozen=True)
class _Part:
    folder: Path

    def save(self, table: str, what: str, array: NDArray[Any]) -> None:
        np.save(self._file(table, what), array)

    def load(self, table: str, what: str) -> NDArray[Any]:
        """Mapped."""
        array: NDArray[Any] = np.load(self._file(table, what), mmap_mode="r", allow_pickle=False)
        return array

    @cached_property
    def users(self) -> Int64Array:
        """Their IDs, ascending."""
        return self.load(USERS, _IDS)

    def _file(self, table: str, what: str) -> Path:
        return self.folder / f"{table}_{what}.npy"


def _users(folder: Path, parts: Sequence[_Part]) -> tuple[TrainableTable, Int64Array]:
    """The table of all users, and when each was last seen; memory follows their IDs."""
    ids = np.sort(np.concatenate([part.users for part in parts]))
    dim = parts[0].load(USERS, _ROWS).shape[1]
    rows = _new(folder, USERS, np.float32, (1 + len(ids), dim))
    squares, seen = np.empty(1 + len(ids), np.float32), np.empty(len(ids), np.int64)
    for part in parts:
        places = np.searchsorted(ids, part.users)
        seen[places] = part.load(USERS, _SEEN)
        # The out-of-vocabulary row is the same in each.
        places = np.append(OOV, places + 1)
        squares[places] = part.load(USERS, _SQUARES)
        _copy(part.load(USERS, _ROWS), rows, places)
    return TrainableTable(ids, torch.from_numpy(rows), torch.from_numpy(squares)), seen


def _items(folder: Path, parts: Sequence[_Part], ids: Int64Array) -> TrainableTable:
    """The table of all items, whose ranges lie one after the other."""
    squares = np.concatenate([part.load(ITEMS, _SQUARES) for part in parts])
    first, dim = 0, parts[0].load(ITEMS, _ROWS).shape[1]
    rows = _new(folder, ITEMS, np.float32, (len(squares), dim))
    for part in parts:
        own = part.load(ITEMS, _ROWS)
        _copy(own, rows, first + np.arange(len(own)))
        first += len(own)
    return TrainableTable(ids, torch.from_numpy(rows), torch.from_numpy(squares))


def _new(folder: Path, table: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """A file to be filled, mapped."""
    return np.lib.format.open_memmap(folder / f"{table}.npy", "w+", dtype, shape)


def _copy(rows: NDArray[np.float32], into: NDArray[np.float32], places: Int64Array) -> None:
    for start in range(0, len(rows), BLOCK_ROWS):
        into[places[start : start + BLOCK_ROWS]] = rows[start : start + BLOCK_ROWS]


def _among(block: Block, own: TrainableTable, users: TrainableTable) -> Block:
    """A block of one process's positives, by places in the table of all users."""
    place = np.append(OOV, users.places(own.ids))
    return replace(block, moments=replace(block.moments, users=place[block.moments.users]), everyones=None)
