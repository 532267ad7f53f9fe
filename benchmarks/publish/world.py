"""A base of any size and deltas over it, written as a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pagoda.data.window import Window, from_us
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable

DIM = 64
HOUR_US = 3_600_000_000


def hour(number: int) -> Window:
    """The window of an update."""
    return Window(start=from_us(number * HOUR_US), end=from_us((number + 1) * HOUR_US))


def user_ids(users: int) -> np.ndarray:
    """IDs spread over the 64-bit range as hashes are, sorted, int64 [users]."""
    drawn = np.random.default_rng(7).integers(-(2**62), 2**62, users + users // 1000 + 10)
    return np.unique(drawn)[:users]


def write_base(folder: Path, users: int) -> None:
    """Write a full version's tables: `users` rows, and a hundred items."""
    scratch = folder.with_name(f"{folder.name}.rows")
    rows = np.memmap(scratch, np.float32, "w+", shape=(users, DIM))
    generator = np.random.default_rng(1)
    for start in range(0, users, 1 << 18):
        rows[start : start + (1 << 18)] = generator.random((min(1 << 18, users - start), DIM), dtype=np.float32)
    IdTable.write(folder / "users", user_ids(users), rows, np.zeros(DIM, np.float32))
    del rows
    scratch.unlink()
    IdTable.write(folder / "items", np.arange(100), np.ones((100, DIM), np.float32), np.zeros(DIM, np.float32))


def write_delta(folder: Path, base: Path, *, rows: int, number: int, parent: str | None) -> None:
    """Write a segment over the table in `base`: `rows` of its users, whose row values are all `number`."""
    table = IdTable.open(base)
    chosen = np.random.default_rng(number).choice(len(table), rows, replace=False)
    Segment.write(
        folder,
        table.ids[chosen],
        np.full((rows, DIM), number, np.float32),
        base_checksum=table.checksum,
        base_version=1,
        window=hour(number),
        parent=parent,
    )
