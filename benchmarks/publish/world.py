"""A base of any size and deltas over it, written as a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pagoda.data.window import Window, from_us
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable

DIM = 64


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
    (folder / "encoder.json").write_text("{}")


def write_delta(folder: Path, users: np.ndarray, *, rows: int, number: int, base: str, parent: str | None) -> str:
    """Write a segment of `rows` users whose row values are all `number`; return its checksum."""
    chosen = np.random.default_rng(number).choice(len(users), rows, replace=False)
    hour = 3_600_000_000
    return Segment.write(
        folder,
        users[chosen],
        np.full((rows, DIM), number, np.float32),
        base_checksum=base,
        base_version=1,
        window=Window(start=from_us(number * hour), end=from_us((number + 1) * hour)),
        parent=parent,
    ).checksum
