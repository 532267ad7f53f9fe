"""Moments for interactions that have an order and no timestamps, as `sequences` makes them up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.imports.sequences import LAST, LEFT_OUT, STEP_US
from pagoda.data.layout import TIMESTAMP
from pagoda.data.sorting.external_sort import ExternalSorter
from pagoda.data.window import to_us
from pagoda.errors import DataError


class MadeUpMoments:
    """Takes interactions in the order of time and gives them moments.

    A user's last one is of `LAST`, each before it an hour earlier; who has less than three ends two hours earlier, so
    that leaving two out leaves nobody without any.
    """

    def __init__(self, user: str, folder: Path, budget_bytes: int) -> None:
        self._user = user
        """Column with the user as int64."""
        self._sorter = ExternalSorter(user, folder, budget_bytes)
        self._ends = folder / "ends"
        """For each user, the number of rows up to their last: users may be too many to hold in memory."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows that follow those before."""
        self._sorter.add(batch)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All rows, user by user, with a column `timestamp` as the last.

        Raises:
            DataError: A user has more interactions than there are hours before `LAST`.
        """
        self._write_ends()
        if not self._ends.stat().st_size:
            return
        ends = np.memmap(self._ends, np.int64, "r")
        done = 0
        for users, batch in self._with_ordinals():
            lengths = ends[users] - np.where(users > 0, ends[users - 1], 0)
            if (longest := int(lengths.max())) + LEFT_OUT > to_us(LAST) // STEP_US:
                raise DataError(f"a user has {longest:,} interactions, more than moments can be made up for")
            to_end = ends[users] - 1 - (done + np.arange(len(users)))
            to_end += np.where(lengths > LEFT_OUT, 0, LEFT_OUT)
            done += len(users)
            yield batch.append_column("timestamp", pa.array(to_us(LAST) - to_end * STEP_US).cast(TIMESTAMP))

    def _write_ends(self) -> None:
        done = 0
        with self._ends.open("wb") as file:
            last: int | None = None
            for users, batch in self._with_ordinals():
                starts = np.flatnonzero(np.diff(users, prepend=users[0] if last is None else last))
                (starts + done).astype(np.int64).tofile(file)
                done, last = done + batch.num_rows, int(users[-1])
            if done:
                np.array([done], np.int64).tofile(file)

    def _with_ordinals(self) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """The rows by user, and the users numbered from 0 in this order."""
        ordinal, last = -1, None
        for batch in self._sorter.rows():
            users = batch[self._user].to_numpy()
            changes = np.append(last is None or users[0] != last, users[1:] != users[:-1])
            ordinals = ordinal + np.cumsum(changes)
            ordinal, last = int(ordinals[-1]), users[-1]
            yield ordinals, batch
