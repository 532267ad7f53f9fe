"""Which int64 there are among many, in order, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.sorting.external_sort import ExternalSorter

_GIVEN_OUT = 1 << 20


class DistinctNumbers:
    """Takes numbers. Most IDs count up from 0 or 1, so small ones are marked in a table, and only others are sorted."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._marks = np.empty(0, bool)
        self._others = ExternalSorter("id", folder, budget_bytes, distinct=True)

    def add(self, numbers: np.ndarray) -> None:
        """Take int64 [n]."""
        if not len(self._marks):
            # Memory is taken where it is written first: for small numbers a small part.
            self._marks = np.zeros(self._budget_bytes // 2, bool)
        small = numbers.view(np.uint64) < len(self._marks)
        if small.all():
            self._marks[numbers] = True
            return
        self._marks[numbers[small]] = True
        self._others.add(pa.RecordBatch.from_pydict({"id": numbers[~small]}))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them in order as a column `id`; those that were sorted may come again and again."""
        marked = self._marked()
        for batch in self._others.rows():
            negative = int(np.searchsorted(batch["id"].to_numpy(), 0))
            yield batch.slice(0, negative)
            if negative < batch.num_rows:
                yield from marked
                yield batch.slice(negative)
        yield from marked

    def _marked(self) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(self._marks), _GIVEN_OUT):
            found = np.flatnonzero(self._marks[start : start + _GIVEN_OUT]) + start
            yield pa.RecordBatch.from_pydict({"id": found})
