"""A share of the users, the same ones wherever it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.interaction_files import BATCH_ROWS
from pagoda.data.layout import INTERACTION_COLUMNS
from pagoda.data.partitions import rebatch
from pagoda.data.window import Window


def places(users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where each user stands in [0, 1), evenly and for ever: float64 [n], by the mixer of SplitMix64 (Steele et al.,
    OOPSLA 2014), since IDs that were counted upwards are no random numbers."""
    mixed = users.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    spread: NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return spread


class SampledUsers(Dataset):
    """A dataset of whose users only a share ever did anything. Items and profiles are all there."""

    def __init__(self, dataset: Dataset, share: float) -> None:
        """Look at `dataset`, of which nothing is copied."""
        vars(self).update(vars(dataset))
        self._share = share

    def batches(
        self,
        window: Window | None = None,
        *,
        events: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """See `Dataset.batches`."""
        names = list(INTERACTION_COLUMNS if columns is None else columns)
        wanted = [*names, *({"user_id"} - set(names))]
        rows = super().batches(window, events=events, columns=wanted)
        return rebatch((self._ours(batch).select(names) for batch in rows), max(1, batch_rows))

    def count(self, window: Window | None = None, *, events: Collection[str] | None = None) -> int:
        """See `Dataset.count`."""
        return sum(batch.num_rows for batch in self.batches(window, events=events, columns=["timestamp"]))

    def _ours(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array(places(batch.column("user_id").to_numpy()) < self._share))
