"""Users and items with too few interactions: those go until no more has to (a core of the graph that they make)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.sorting.external_sort import ExternalSorter

_SCHEMA = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("number", pa.int64())])


class RareRows:
    """Takes interactions and finds those whose user or item has too few.

    Users are never all in memory: rows are sorted by user, and each pass streams them from one file to the next.
    """

    def __init__(self, min_user: int, min_item: int, folder: Path, budget_bytes: int) -> None:
        self._min_user, self._min_item = min_user, min_item
        self._folder = folder
        self._sorter = ExternalSorter("user", folder, budget_bytes)

    def add(self, users: np.ndarray, items: np.ndarray, numbers: np.ndarray) -> None:
        """Take interactions by running number; users and items are int64 [n]."""
        self._sorter.add(pa.RecordBatch.from_arrays(list(map(pa.array, (users, items, numbers))), schema=_SCHEMA))

    def mark(self, out: np.ndarray) -> int:
        """Set `out` (bool, by running number) for rows that go, and return how many these are; those set stay so."""
        rows: Iterator[pa.RecordBatch] = (
            batch.filter(pa.array(~out[batch["number"].to_numpy()])) for batch in self._sorter.rows()
        )
        items: _Counts | None = None
        gone, passes = 0, 0
        while True:
            path = self._folder / f"rare-{passes % 2}.arrow"
            removed, items = self._pass(rows, items, path, out)
            gone, passes = gone + removed, passes + 1
            if not removed and passes > 1:
                return gone
            rows = _read(path)

    def _pass(
        self, rows: Iterator[pa.RecordBatch], items: _Counts | None, path: Path, out: np.ndarray
    ) -> tuple[int, _Counts]:
        """Write the rows that stay to `path`; return how many went, and what items have after it."""
        removed, counts = 0, _Counts()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            for batch in _whole_users(rows):
                stays = self._stays(batch, items)
                numbers = batch["number"].to_numpy()
                out[numbers[~stays]] = True
                removed += int((~stays).sum())
                kept = batch.filter(pa.array(stays))
                counts.add(kept["item"].to_numpy())
                writer.write_batch(kept)
        return removed, counts

    def _stays(self, batch: pa.RecordBatch, items: _Counts | None) -> np.ndarray:
        users = batch["user"].to_numpy()
        stays = np.ones(len(users), bool)
        if items is not None:
            stays = items.of(batch["item"].to_numpy()) >= self._min_item
        _, place = np.unique(users, return_inverse=True)
        have = np.bincount(place[stays], minlength=int(place.max(initial=-1)) + 1)
        return stays & (have[place] >= self._min_user)


class _Counts:
    """How often each item came."""

    def __init__(self) -> None:
        self._ids, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._held = 0

    def add(self, items: np.ndarray) -> None:
        ids, counts = np.unique(items, return_counts=True)
        self._waiting.append((ids, counts))
        self._held += len(ids)
        # Merged once there are as many as known: each merge then costs what it adds.
        if self._held > len(self._ids):
            self._merge()

    def of(self, items: np.ndarray) -> np.ndarray:
        """Counts of items that were added."""
        self._merge()
        found: np.ndarray = self._counts[np.searchsorted(self._ids, items)]
        return found

    def _merge(self) -> None:
        if not self._waiting:
            return
        known = [(self._ids, self._counts), *self._waiting]
        self._ids, place = np.unique(np.concatenate([ids for ids, _ in known]), return_inverse=True)
        weights = np.concatenate([counts for _, counts in known])
        self._counts = np.bincount(place, weights).astype(np.int64)
        self._waiting, self._held = [], 0


def _whole_users(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, sorted by user, cut between users."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        users = batch["user"].to_numpy()
        start = int(np.searchsorted(users, users[-1]))
        if start or (held and held[0]["user"][0].as_py() != users[0]):
            yield pa.concat_batches([*held, batch.slice(0, start)])
            held = []
        held.append(batch.slice(start))
    if held:
        yield pa.concat_batches(held)


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
