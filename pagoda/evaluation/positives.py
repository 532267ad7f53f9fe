"""Which positives an evaluation answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.layout import features_of
from pagoda.data.window import Window
from pagoda.errors import NothingToAskError

Int64Array = NDArray[np.int64]
Protocol = Literal["each", "last"]
"""`each`: every positive of the window. `last`: only each user's last one (leave-one-out)."""


@dataclass(frozen=True)
class PositiveRows:
    """The positives to answer, in time order."""

    ordinals: Int64Array
    """int64 [rows]: which of the window's positives each is."""
    users: Int64Array
    items: Int64Array
    times_us: Int64Array
    context: pa.Table
    """Raw values of the context features."""

    def __len__(self) -> int:
        return len(self.users)

    def take(self, kept: NDArray[np.bool_]) -> PositiveRows:
        """Some of the rows."""
        return PositiveRows(
            ordinals=self.ordinals[kept],
            users=self.users[kept],
            items=self.items[kept],
            times_us=self.times_us[kept],
            context=self.context.filter(pa.array(kept)),
        )


def choose(dataset: Dataset, window: Window, protocol: Protocol, limit: int, seed: int) -> tuple[Int64Array, int]:
    """Choose the positives to answer: all of the protocol's, or `limit` of them drawn evenly under `seed`.

    Returns:
        Their ordinals among the window's positives, int64 ascending, and how many they were drawn from.

    Raises:
        NothingToAskError: The window holds no positive.
    """
    eligible = _last_of_each_user(dataset, window) if protocol == "last" else None
    available = dataset.count(window, events=dataset.spec.positives) if eligible is None else len(eligible)
    if not available:
        raise NothingToAskError(
            f"{dataset.path}: no {' or '.join(dataset.spec.positives)} in window {window.key}, nothing to evaluate"
        )
    if available <= limit:
        drawn = np.arange(available)
    else:
        drawn = np.sort(np.random.default_rng(seed).choice(available, limit, replace=False))
    return (drawn if eligible is None else eligible[drawn]), available


def read_rows(dataset: Dataset, window: Window, ordinals: Int64Array) -> PositiveRows:
    """Read the window's positives at `ordinals`, ascending."""
    names = [feature.column for feature in features_of(dataset.spec, "interactions")]
    kept = [
        batch.take(pa.array(ordinals[slice(*np.searchsorted(ordinals, [start, start + batch.num_rows]))] - start))
        for start, batch in _numbered(dataset, window, ["user_id", "item_id", "timestamp", *names])
    ]
    table = pa.Table.from_batches(kept)
    users, items, times_us = (
        table.column(name).cast(pa.int64()).to_numpy() for name in ("user_id", "item_id", "timestamp")
    )
    return PositiveRows(ordinals, users, items, times_us, table.select(names))


def _last_of_each_user(dataset: Dataset, window: Window) -> Int64Array:
    users, last = np.empty(0, np.int64), np.empty(0, np.int64)
    for start, batch in _numbered(dataset, window, ["user_id"]):
        # Newest first, and `unique` keeps the first of equals.
        all_users = np.concatenate([batch.column("user_id").to_numpy()[::-1], users])
        ordinals = np.concatenate([np.arange(start, start + batch.num_rows)[::-1], last])
        users, first = np.unique(all_users, return_index=True)
        last = ordinals[first]
    return np.sort(last)


def _numbered(dataset: Dataset, window: Window, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of the window's positives, each with the ordinal of its first row."""
    start = 0
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=columns):
        yield start, batch
        start += batch.num_rows
