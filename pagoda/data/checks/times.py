"""What the times of a log say of it as a whole: do they lie in 1970, do a user's events share moments, is one positive?

None of it breaks the contract, so it is a warning: a model learns from such a log, and learns little.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.ids import hash_ids
from pagoda.data.layout import FEATURES_FILE, day_of
from pagoda.data.spec import FeatureSpec

Int64Array = NDArray[np.int64]
_1971_US = 31_536_000_000_000
MANY_TIES = 0.05
"""Share of tied events from which on there is a warning. Logs to the second have some: a page of clicks, a basket."""
_HELD_ROWS = 1 << 20
"""Of one moment, in memory; of a moment with more, a part of the users is counted and stands for all."""


_ODD, _OTHER_ODD = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
_MOST_SLOT_BITS = 22
_LEAST_PART = 16
"""One user in 65,536; a moment whose users are fewer is held, however many rows they have."""


class LogTimes:
    """Takes rows in the order of time, and says what is remarkable about them."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._positives = pa.array(spec.positives)
        self._positive_names = " or ".join(spec.positives)
        self._ties = _Ties()
        self._rows = self._in_1970 = 0
        self._first, self._last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        self._any_positive = False

    def take(self, batch: pa.RecordBatch, *, in_order: bool = True) -> None:
        """Look at interactions.

        Args:
            batch: With valid IDs, events and timestamps.
            in_order: Whether no row lies before one that was taken earlier. Only such rows are looked at for ties.
        """
        times = batch.column("timestamp").cast(pa.int64()).to_numpy()
        if not len(times):
            return
        self._rows += len(times)
        self._first, self._last = min(self._first, int(times.min())), max(self._last, int(times.max()))
        self._in_1970 += int((times < _1971_US).sum())
        self._any_positive = self._any_positive or bool(
            pc.any(pc.is_in(batch.column("event"), self._positives)).as_py()
        )
        if in_order:
            self._ties.take(times, batch.column("user_id"), batch.column("item_id"))

    def absorb(self, later: LogTimes) -> None:
        """Take what another says of rows that lie after all of these, and share a moment with none of them."""
        self._rows += later._rows
        self._in_1970 += later._in_1970
        self._first, self._last = min(self._first, later._first), max(self._last, later._last)
        self._any_positive = self._any_positive or later._any_positive
        self._ties.absorb(later._ties)

    @property
    def tied_share(self) -> float:
        """Share of events that have their moment with another item of the same user."""
        return self._ties.share

    def warnings(self) -> Iterator[str]:
        """What is remarkable, a sentence each."""
        if not self._rows:
            return
        if self._last < _1971_US:
            span = f"{day_of(self._first).isoformat()} to {day_of(self._last).isoformat()}"
            yield (
                f"everything lies in 1970 ({span}): were seconds read as milliseconds, or those as microseconds? "
                "`--timestamps seconds` says how a file counts"
            )
        elif self._in_1970:
            yield f"{self._in_1970:,} interactions lie in 1970: does a 0 stand for an unknown time?"
        if self.tied_share > MANY_TIES:
            yield (
                f"{self.tied_share:.1%} of the interactions have their moment with another item of the same user, so "
                "their order is unknown, and none of them is history for the others; give times of day, or import with "
                "--keep-order where the rows of a user's moment stand in the order in which they happened"
            )
        if not self._any_positive:
            yield (
                f"no interaction is a positive ({self._positive_names}), so there is nothing to learn; say which "
                f"events are by `positives` in {FEATURES_FILE}"
            )


class _Ties:
    """Counts rows that have user and moment with a row of another item, a moment at a time."""

    def __init__(self) -> None:
        self._rows, self._tied = 0, 0.0
        self._moment: int | None = None
        self._held: list[tuple[Int64Array, Int64Array]] = []
        self._held_rows = 0
        self._part = 0
        """Users of the moment are counted by 2 ** -part."""

    @property
    def share(self) -> float:
        """Share of tied rows so far."""
        return (self._tied + self._open()) / self._rows if self._rows else 0.0

    def absorb(self, later: _Ties) -> None:
        self._close()
        later._close()
        self._rows += later._rows
        self._tied += later._tied

    def take(self, times: Int64Array, users: pa.Array, items: pa.Array) -> None:
        self._rows += len(times)
        # Most rows of most logs share their moment with nobody, and cost no more than this.
        same = times[1:] == times[:-1]
        shared = np.append(same, True)  # The last moment may go on in the next batch.
        shared[1:] |= same
        shared[0] |= self._moment == times[0]
        rows = np.flatnonzero(shared)
        picked = pa.array(rows)
        self._add(times[rows], _numbers(users.take(picked)), _numbers(items.take(picked)))

    def _add(self, times: Int64Array, users: Int64Array, items: Int64Array) -> None:
        if self._moment is not None and times[0] != self._moment:
            self._close()
        end = int(np.searchsorted(times, times[0], side="right"))
        self._hold(int(times[0]), users[:end], items[:end])
        if end == len(times):
            return
        self._close()
        last = int(np.searchsorted(times, times[-1], side="left"))
        self._tied += _tied(times[end:last], users[end:last], items[end:last])
        self._hold(int(times[-1]), users[last:], items[last:])

    def _hold(self, moment: int, users: Int64Array, items: Int64Array) -> None:
        self._moment = moment
        kept = _sampled(users, self._part)
        self._held.append((users[kept], items[kept]))
        self._held_rows += int(kept.sum())
        while self._held_rows > _HELD_ROWS and self._part < _LEAST_PART:
            self._part += 1
            self._held = [(u[kept], i[kept]) for u, i in self._held for kept in [_sampled(u, self._part)]]
            self._held_rows = sum(len(u) for u, _ in self._held)

    def _open(self) -> float:
        """Tied rows of the moment that is not over."""
        if self._held_rows < 2:  # noqa: PLR2004
            return 0.0
        users, items = (np.concatenate(column) for column in zip(*self._held, strict=True))
        return _tied(np.zeros(len(users), np.int64), users, items) * 2.0**self._part

    def _close(self) -> None:
        self._tied += self._open()
        self._held, self._held_rows, self._part, self._moment = [], 0, 0, None


def _sampled(users: Int64Array, part: int) -> NDArray[np.bool_]:
    """One user in 2 ** part, by their ID and not by their rows. Multiplied, since IDs that count up share low bits."""
    mixed = (users.view(np.uint64) * np.uint64(_ODD)) >> np.uint64(32)
    found: NDArray[np.bool_] = (mixed & np.uint64((1 << part) - 1)) == 0
    return found


def _tied(times: Int64Array, users: Int64Array, items: Int64Array) -> float:
    """How many rows have time and user with a row of another item; a click and a like of one item tie with nobody."""
    rows = _meeting(times, users)
    if not len(rows):
        return 0.0
    order = rows[np.lexsort((users[rows], times[rows]))]
    times, users, items = times[order], users[order], items[order]
    new = np.append(True, (times[1:] != times[:-1]) | (users[1:] != users[:-1]))
    starts = np.flatnonzero(new)
    several = np.minimum.reduceat(items, starts) != np.maximum.reduceat(items, starts)
    return float(np.diff(np.append(starts, len(times)))[several].sum())


def _meeting(times: Int64Array, users: Int64Array) -> Int64Array:
    """Rows with the slot of another in a table of hashes of time and user: all that are tied, and few others.

    Sorting all rows by both costs six times as much, and most are alone with their time and user.
    """
    bits = min((8 * len(times)).bit_length(), _MOST_SLOT_BITS)
    mixed = (times.view(np.uint64) * np.uint64(_ODD) ^ users.view(np.uint64)) * np.uint64(_OTHER_ODD)
    slots = (mixed >> np.uint64(64 - bits)).view(np.int64)
    rows = np.arange(len(times), dtype=np.int32)
    table = np.empty(1 << bits, np.int32)  # Slots are read only where a row was put.
    table[slots] = rows
    there = table[slots]
    met = there != rows
    met[there[met]] = True
    return np.flatnonzero(met)


def _numbers(keys: pa.Array) -> Int64Array:
    numbers: Int64Array = hash_ids(keys) if pa.types.is_string(keys.type) else keys.to_numpy()
    return numbers
