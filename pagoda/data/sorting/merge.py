"""Rows of several time-ordered runs as one in time order, in memory of a batch for each run that is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pagoda.data.partitions import timestamps_us
from pagoda.data.sorting.batches import sort_batch


@dataclass(frozen=True)
class Run:
    """Rows in time order that are read when their turn comes."""

    start_us: int
    """No row lies before it."""
    read: Callable[[], Iterator[pa.RecordBatch]]


class _Open:
    """A run that is being read, and what of it is loaded and not yet given out."""

    def __init__(self, number: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.number, self._batches = number, batches
        self._batch: pa.RecordBatch
        self._times = np.empty(0, np.int64)

    @property
    def last(self) -> tuple[int, int]:
        """Time of the last loaded row, and the run's number, which orders equal times."""
        return int(self._times[-1]), self.number

    def take_until(self, horizon: tuple[int, int]) -> pa.RecordBatch:
        """Give out the loaded rows up to `horizon`."""
        time_us, number = horizon
        end = int(np.searchsorted(self._times, time_us, side="right" if self.number <= number else "left"))
        taken, self._batch = self._batch.slice(0, end), self._batch.slice(end)
        self._times = self._times[end:]
        return taken

    def more(self) -> bool:
        """Load the next rows if none is left; False at the run's end."""
        while not len(self._times):
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._batch, self._times = batch, timestamps_us(batch)
        return True


def merge(runs: Sequence[Run]) -> Iterator[pa.RecordBatch]:
    """All rows in time order; rows of equal time in the order of their runs. A run is opened when it may be next."""
    waiting = sorted(enumerate(runs), key=lambda numbered: numbered[1].start_us, reverse=True)
    opened: list[_Open] = []
    while opened or waiting:
        # Every row up to the end of the run whose loaded rows end first is loaded, unless a waiting run has one.
        while waiting and (not opened or waiting[-1][1].start_us <= min(run.last for run in opened)[0]):
            number, run = waiting.pop()
            candidate = _Open(number, run.read())
            opened += [candidate] if candidate.more() else []
        if not opened:
            return
        horizon = min(run.last for run in opened)
        taken = [run.take_until(horizon) for run in sorted(opened, key=lambda run: run.number)]
        yield sort_batch(pa.concat_batches([part for part in taken if part.num_rows]), "timestamp")
        opened = [run for run in opened if run.more()]
