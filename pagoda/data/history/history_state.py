"""What each user did last, as of any row of a stream that is ordered by time.

An interaction sees what its user did at strictly earlier timestamps: rows of one user with one timestamp see none of
each other, however the stream is cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pagoda.data.history.histories import BoolArray, Histories
from pagoda.data.history.history_files import KINDS_FILE
from pagoda.data.history.id_slots import MISSING, Int64Array, Slots
from pagoda.data.window import from_us
from pagoda.errors import DataError

_EMPTY = np.empty(0, np.int64)
_PENDING, _LATEST = "pending.npy", "latest.npy"
_KEPT = ("items.npy", "times.npy")
"""Files of what is kept of each event."""
_BEGINNING_US = np.iinfo(np.int64).min
Chosen = Callable[[Int64Array], BoolArray]
"""Says which of users (int64 [n], IDs) are meant, bool [n]."""


class _Events(NamedTuple):
    users: Int64Array
    columns: tuple[NDArray[Any], ...]
    """What rings keep of an event: item, time, and its kind where histories say it."""

    @classmethod
    def of(cls, users: Int64Array, items: Int64Array, times_us: Int64Array, kinds: NDArray[Any] | None) -> _Events:
        told = () if kinds is None else (kinds.astype(np.int16, copy=False),)
        return cls(users, (items, times_us, *told))

    @property
    def times_us(self) -> Int64Array:
        return self.columns[1]

    def where(self, chosen: BoolArray) -> _Events:
        return _Events(self.users[chosen], tuple(column[chosen] for column in self.columns))

    def then(self, later: _Events) -> _Events:
        pairs = zip(self.columns, later.columns, strict=True)
        return _Events(np.concatenate([self.users, later.users]), tuple(np.concatenate(pair) for pair in pairs))


class HistoryState:
    """The last `length` events of every user, in memory of users x length x 16 bytes; with kinds, 18.

    Events of the newest timestamp wait in `_pending`, since a later batch may hold further rows of that moment, which
    must not see them.
    """

    def __init__(self, length: int, *, kinds: bool = False) -> None:
        """No user has done anything yet; `kinds`: whether histories say which event each was."""
        self.length = length
        self._slots = Slots()
        self._rings: list[NDArray[Any]] = [np.zeros((0, length), np.int64) for _ in range(2)]
        if kinds:
            self._rings.append(np.zeros((0, length), np.int16))
        self._totals = np.zeros(0, np.int64)
        self._pending = _Events.of(_EMPTY, _EMPTY, _EMPTY, _EMPTY if kinds else None)
        self._latest_us = int(_BEGINNING_US)

    def advance(
        self,
        user_ids: Int64Array,
        item_ids: Int64Array,
        timestamps_us: Int64Array,
        enters: BoolArray | None = None,
        kinds: NDArray[Any] | None = None,
    ) -> Histories:
        """Return each row's history as of its own moment, and take the rows in.

        Args:
            user_ids: int64 [n].
            item_ids: int64 [n].
            timestamps_us: int64 [n], not decreasing, none before the last row taken in.
            enters: bool [n], rows that enter histories; the others only read theirs. Default: all enter.
            kinds: int [n], which event each was, as `kinds_of` has it; only where histories say it.

        Raises:
            DataError: The rows are not in time order.
        """
        self._refuse_disorder(timestamps_us)
        rows = _Events.of(user_ids, item_ids, timestamps_us, kinds)
        enters = np.ones(len(user_ids), bool) if enters is None else enters
        histories = self._as_of(rows, enters)
        self._take_in(rows.where(enters), int(timestamps_us[-1]) if len(timestamps_us) else self._latest_us)
        return histories

    def push(
        self,
        user_ids: Int64Array,
        item_ids: Int64Array,
        timestamps_us: Int64Array,
        kinds: NDArray[Any] | None = None,
    ) -> None:
        """Take in rows whose own histories nobody needs; arguments and errors as for `advance`."""
        self._refuse_disorder(timestamps_us)
        if len(user_ids):
            self._take_in(_Events.of(user_ids, item_ids, timestamps_us, kinds), int(timestamps_us[-1]))

    def reach(self, moment_us: int) -> None:
        """Take it that time has come to a moment, whoever's row said so: none that follows is before it."""
        if moment_us > self._latest_us:
            nothing = tuple(column[:0] for column in self._pending.columns)
            self._take_in(_Events(_EMPTY, nothing), moment_us)

    def read(self, user_ids: Int64Array, timestamps_us: Int64Array) -> Histories:
        """Return the history of each user as of each moment (in any order) without taking anything in.

        Raises:
            DataError: A moment lies before the last row taken in, so what it would have seen may be gone.
        """
        order = np.argsort(timestamps_us, kind="stable")
        self._refuse_disorder(timestamps_us[order])
        nothing = np.zeros_like(user_ids)
        told = nothing if len(self._rings) > len(_KEPT) else None
        rows = _Events.of(user_ids[order], nothing, timestamps_us[order], told)
        histories = self._as_of(rows, np.zeros(len(order), bool))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return histories.take(back)

    def _refuse_disorder(self, times_us: Int64Array) -> None:
        if not len(times_us):
            return
        before = np.concatenate([[self._latest_us], times_us[:-1]])
        if (disorder := np.flatnonzero(times_us < before)).size:
            row = int(disorder[0])
            raise DataError(
                f"interactions are not in time order: row {row} of the batch is of "
                f"{from_us(int(times_us[row])).isoformat()}, after one of {from_us(int(before[row])).isoformat()}"
            )

    def _as_of(self, rows: _Events, enters: BoolArray) -> Histories:
        """Lay each user's ring and the rows at hand end to end, and mark where each row's history ends."""
        held = len(self._pending.users)
        rows = self._pending.then(rows)
        enters = np.concatenate([np.ones(held, bool), enters])
        users, user = np.unique(rows.users, return_inverse=True)
        rings, ring_counts = self._kept(self._slots.find(users))
        order = np.argsort(user, kind="stable")
        inside = _counts_before(user[order], rows.times_us[order], enters[order])
        counts = ring_counts + np.bincount(user, weights=enters, minlength=len(users)).astype(np.int64)
        starts = np.cumsum(counts) - counts
        ends = np.empty(len(order), np.int64)
        ends[order] = starts[user[order]] + ring_counts[user[order]] + inside
        new = order[enters[order]]
        items, times, *told = (
            _interleave(ring, ring_counts, column[new], counts - ring_counts)
            for ring, column in zip(rings, rows.columns, strict=True)
        )
        first = np.maximum(starts[user], ends - self.length)
        return Histories(self.length, items, times, first[held:], ends[held:], *told)

    def _kept(self, slots: Int64Array) -> tuple[list[NDArray[Any]], Int64Array]:
        """Events of the rings of `slots`, oldest first, end to end: their columns, and how many each has."""
        counts = np.where(slots == MISSING, 0, np.minimum(self._totals[slots], self.length)) if len(self._slots) else 0
        counts = np.broadcast_to(counts, slots.shape).astype(np.int64)
        owner = np.repeat(slots, counts)
        ordinal = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = (self._totals[owner] - np.repeat(counts, counts) + ordinal) % self.length
        return [ring[owner, place] for ring in self._rings], counts

    def _take_in(self, events: _Events, latest_us: int) -> None:
        events = self._pending.then(events)
        waits = events.times_us == latest_us
        self._pending = events.where(waits)
        self._latest_us = latest_us
        self._write(events.where(~waits))

    def _write(self, events: _Events) -> None:
        self._slots.add(events.users)
        self._grow(len(self._slots))
        slots = self._slots.find(events.users)
        order = np.argsort(slots, kind="stable")
        owners, first, counts = np.unique(slots[order], return_index=True, return_counts=True)
        ordinal = np.arange(len(order)) - np.repeat(first, counts)
        kept = ordinal >= np.repeat(counts, counts) - self.length
        chosen, owner = order[kept], slots[order][kept]
        place = (self._totals[owner] + ordinal[kept]) % self.length
        for ring, column in zip(self._rings, events.columns, strict=True):
            ring[owner, place] = column[chosen]
        self._totals[owners] += counts

    def _grow(self, needed: int) -> None:
        if needed <= len(self._totals):
            return
        more = max(needed, 2 * len(self._totals)) - len(self._totals)
        self._rings = [np.pad(ring, ((0, more), (0, 0))) for ring in self._rings]
        self._totals = np.pad(self._totals, (0, more))

    def without(self, user_ids: Int64Array) -> HistoryState:
        """The same but for some users (int64 [n]), of whom nothing is known."""
        ids = self._slots.ids()
        kept = np.isin(ids, user_ids, invert=True)
        held, other = len(ids), HistoryState(self.length)
        other._slots = Slots(ids[kept])
        other._rings = [ring[:held][kept] for ring in self._rings]
        other._totals = self._totals[:held][kept]
        other._pending = self._pending.where(np.isin(self._pending.users, user_ids, invert=True))
        other._latest_us = self._latest_us
        return other

    def save(self, folder: Path) -> None:
        """Write the state as .npy files into `folder`, which is created."""
        folder.mkdir(parents=True)
        held = len(self._slots)
        np.save(folder / "users.npy", self._slots.ids())
        for name, ring in zip((*_KEPT, KINDS_FILE), self._rings, strict=False):
            np.save(folder / name, ring[:held])
        np.save(folder / "totals.npy", self._totals[:held])
        np.save(folder / _PENDING, np.stack([self._pending.users, *self._pending.columns]))
        np.save(folder / _LATEST, np.int64(self._latest_us))

    @classmethod
    def load(cls, folder: Path, whose: Chosen | None = None, *, mapped: bool = False) -> HistoryState:
        """Read what `save` wrote, of all users or of those that `whose` chooses: of the others nothing is held.

        `mapped`: what users did stays in the files, which are not changed by what is taken in later.
        """
        names = (*_KEPT, KINDS_FILE) if (folder / KINDS_FILE).exists() else _KEPT
        ids = np.load(folder / "users.npy", allow_pickle=False)
        kept = slice(None) if whose is None else whose(ids)
        files = [np.load(folder / name, mmap_mode="c", allow_pickle=False) for name in names]
        rings = files if mapped else [np.array(file[kept]) for file in files]
        state = cls(rings[0].shape[1])
        state._slots = Slots(ids[kept])
        state._rings = rings
        state._totals = np.load(folder / "totals.npy", allow_pickle=False)[kept]
        users, items, times, *told = np.load(folder / _PENDING, allow_pickle=False)
        pending = _Events.of(users, items, times, told[0] if told else None)
        state._pending = pending if whose is None else pending.where(whose(users))
        state._latest_us = int(np.load(folder / _LATEST, allow_pickle=False))
        return state


def join_histories(parts: Sequence[Path], folder: Path) -> None:
    """Write into `folder`, which is created, what several states wrote that know different users as of one moment.

    Nothing of users is held but their pending events.
    """
    folder.mkdir()
    for name in sorted(path.name for path in parts[0].iterdir()):
        arrays = [np.load(part / name, mmap_mode="r", allow_pickle=False) for part in parts]
        if name == _LATEST:
            np.save(folder / name, arrays[0])
        elif name == _PENDING:
            np.save(folder / name, np.concatenate(arrays, axis=1))
        else:
            shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
            np.concatenate(arrays, out=np.lib.format.open_memmap(folder / name, "w+", arrays[0].dtype, shape))


def _counts_before(users: Int64Array, times_us: Int64Array, enters: BoolArray) -> Int64Array:
    """Of rows sorted by user, then time: how many entering rows of the same user are strictly earlier."""
    if not len(users):
        return _EMPTY
    entered: Int64Array = np.cumsum(enters) - enters
    new_user = np.concatenate([[True], users[1:] != users[:-1]])
    new_moment = new_user | np.concatenate([[True], times_us[1:] != times_us[:-1]])
    index = np.arange(len(users))
    user_start = np.maximum.accumulate(np.where(new_user, index, 0))
    moment_start = np.maximum.accumulate(np.where(new_moment, index, 0))
    return np.asarray(entered[moment_start] - entered[user_start], np.int64)


def _interleave(old: NDArray[Any], old_counts: Int64Array, new: NDArray[Any], new_counts: Int64Array) -> NDArray[Any]:
    """Put groups of `old` and of `new` values end to end: old[0], new[0], old[1], new[1] …"""
    merged = np.empty(len(old) + len(new), old.dtype)
    is_new = np.repeat(np.tile([False, True], len(old_counts)), np.stack([old_counts, new_counts], 1).ravel())
    merged[~is_new] = old
    merged[is_new] = new
    return merged
