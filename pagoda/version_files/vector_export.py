"""Vectors of a version as Parquet, by the IDs that the dataset's owner gave."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window, to_us
from pagoda.model.table_inputs import histories_at, no_histories
from pagoda.version_files.open_version import OpenTowers

_ROWS = 1 << 17
"""Users at a time. Memory follows it, and each time reads the profiles once."""


def export_items(towers: OpenTowers, dataset: Dataset, path: Path) -> int:
    """Write `item_id`, as it was given, and `vector` of every item; return how many there are."""
    items, vectors = dataset.items(), towers.item_vectors()
    keys = items.column("item_key" if dataset.spec.id_type == "string" else "item_id").combine_chunks()
    with _Writer(path, "item_id") as writer:
        for start in range(0, len(vectors), _ROWS):
            writer.write(keys.slice(start, _ROWS), vectors[start : start + _ROWS])
    return len(vectors)


def export_users(towers: OpenTowers, dataset: Dataset, moment: datetime, path: Path) -> int:
    """Write `user_id`, as it was given, and `vector` of every user as of a moment; return how many users there are.

    Where a user has several vectors, each is a row, with its number from 0 as `interest`.

    Users are those of the dataset's users and of its interactions before the moment. Histories hold what was strictly
    before it; what would come with a request (context) is unknown, and the parts of time are the moment's.
    """
    state, count = histories_at(dataset, moment, None, None), 0
    with _Writer(path, "user_id") as writer:
        for ids, keys in _users(dataset, moment):
            moments = np.full(len(ids), to_us(moment), np.int64)
            histories = state.read(ids, moments) if state else no_histories(len(ids))
            writer.write(keys, towers.user_vectors(ids, moments, histories))
            count += len(ids)
    return count


def _users(dataset: Dataset, moment: datetime) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
    """IDs int64 [n] and the same as they were given; each user once."""
    key = "user_key" if dataset.spec.id_type == "string" else "user_id"
    known = [np.empty(0, np.int64)]
    for batch in dataset.user_batches(_ROWS):
        known.append(batch.column("user_id").to_numpy())
        yield known[-1], batch.column(key)
    seen, start = np.sort(np.concatenate(known)), dataset.span().start
    if start >= moment:
        return
    window = Window(start=start, end=moment)
    for batch in dataset.batches(window, columns=list({"user_id": None, key: None}), batch_rows=_ROWS):
        ids, first = np.unique(batch.column("user_id").to_numpy(), return_index=True)
        new = ~np.isin(ids, seen, assume_unique=True)
        if new.any():
            seen = np.union1d(seen, ids[new])
            yield ids[new], batch.column(key).take(pa.array(first[new]))


class _Writer:
    """Writes rows as they come."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Writer:
        return self

    def write(self, keys: pa.Array, vectors: NDArray[np.float32]) -> None:
        """Append vectors float32 [n, dim] of n keys, or several of each, [n, interests, dim]."""
        count, *interests, dim = vectors.shape
        columns = {self._key: keys}
        if interests:
            columns[self._key] = keys.take(pa.array(np.repeat(np.arange(count), *interests)))
            columns["interest"] = pa.array(np.tile(np.arange(*interests, dtype=np.int32), count))
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), dim)
        batch = pa.RecordBatch.from_pydict(columns)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, batch.schema, compression="zstd")
        self._writer.write_batch(batch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
