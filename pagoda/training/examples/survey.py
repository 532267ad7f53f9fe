"""A first pass over a window: who and what is in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import DataError
from pagoda.model.table_inputs import catalogue_places
from pagoda.training.examples.positive_weights import MeanWeight, positive_weights
from pagoda.training.examples.shown_weights import counted, shown_columns

Int64Array = NDArray[np.int64]
_BATCH_ROWS = 1 << 18
_COLUMNS = ("user_id", "item_id", "event")


@dataclass(frozen=True)
class Survey:
    """What a window holds; memory follows its users and the catalogue."""

    users: Int64Array
    """int64 [u], ascending: users with a positive."""
    catalogue: Int64Array
    """int64 [i], ascending: all items of the dataset."""
    clicks: Int64Array
    """int64 [i]: positives on each item."""
    used: NDArray[np.bool_]
    """bool [i]: items in a positive or a history event."""
    mean_weight: MeanWeight
    """Of the positives, where the dataset declares what they weigh."""

    @property
    def positives(self) -> int:
        """Number of positives."""
        return int(self.clicks.sum())


def survey(dataset: Dataset, window: Window, catalogue: Int64Array, counting: PositivesConfig) -> Survey:
    """Count the window's positives.

    Args:
        dataset: Where they are.
        window: Which.
        catalogue: int64 [i], ascending: all items of the dataset.
        counting: Which positives do not count, by what showed their items.

    Raises:
        DataError: There is no positive in the window, one of an item that `catalogue` lacks, or one whose weight is
            none.
    """
    spec, mean = dataset.spec, MeanWeight()
    columns = (*_COLUMNS, "timestamp", spec.positive_weight) if spec.positive_weight else _COLUMNS
    columns = (*columns, *shown_columns(counting))
    users, waiting = np.empty(0, np.int64), _Waiting()
    clicks = np.zeros(len(catalogue), np.int64)
    used = np.zeros(len(catalogue), bool)
    events = {*spec.positives, *spec.history_events}
    for batch in dataset.batches(window, events=events, columns=columns, batch_rows=_BATCH_ROWS):
        place = catalogue_places(catalogue, batch.column("item_id").to_numpy(), dataset)
        positive, _ = counted(batch, spec.positives, counting)
        waiting.add(batch.column("user_id").to_numpy()[positive])
        if waiting.rows > len(users):
            users = waiting.join(users)
        clicks += np.bincount(place[positive], minlength=len(catalogue))
        used[place] = True
        if spec.positive_weight:
            rows = pa.Table.from_batches([batch]).take(pa.array(positive))
            mean.add(positive_weights(rows, spec.positive_weight, dataset))
    if not clicks.any():
        left = " that positives.by_arm and by_channel let count" if shown_columns(counting) else ""
        raise DataError(f"{dataset.path}: no positive ({' or '.join(spec.positives)}){left} in window {window.key}")
    return Survey(waiting.join(users), catalogue, clicks, used, mean)


class _Waiting:
    """Users of a few batches, taken in together: each joining sorts all users there are."""

    def __init__(self) -> None:
        self._parts: list[Int64Array] = []
        self.rows = 0

    def add(self, users: Int64Array) -> None:
        self._parts.append(np.unique(users))
        self.rows += len(self._parts[-1])

    def join(self, users: Int64Array) -> Int64Array:
        """Those that were added and `users`, distinct and ascending."""
        joined = np.unique(np.concatenate([users, *self._parts]))
        self._parts, self.rows = [], 0
        return joined
