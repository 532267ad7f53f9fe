"""What channels may know of the user of each row, as of its moment: as a request would tell them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pyarrow as pa

from pagoda.channels.base import BoolArray, Int64Array, Known
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.layout import DAY_US, features_of
from pagoda.evaluation.positives import PositiveRows
from pagoda.evaluation.ranking import ExcludedPairs


class KnownUsers:
    """The users of some rows. Memory follows the rows and their users' profiles."""

    def __init__(self, dataset: Dataset, rows: PositiveRows, histories: Histories) -> None:
        """Take the rows of `dataset` and the history of each as of its moment."""
        self._rows, self._histories = rows, histories
        profiles = dataset.users(rows.users)
        self._users: Int64Array = profiles.column("user_id").to_numpy()
        self._profiles = profiles.select([feature.column for feature in features_of(dataset.spec, "users")])

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, rows: slice) -> KnownUsers:
        """Those of some rows."""
        chosen = np.zeros(len(self), np.bool_)
        chosen[rows] = True
        part = copy.copy(self)
        part._rows, part._histories = self._rows.take(chosen), self._histories.take(rows)
        return part

    def of(self, row: int) -> Known:
        """The user of one row."""
        past, moment = self._histories, int(self._rows.times_us[row])
        # Histories have the last event last, and channels want it first.
        newest_first = np.arange(past.ends[row] - 1, max(past.starts[row], past.ends[row] - past.length) - 1, -1)
        ages = (moment - past.times_us[newest_first]) / DAY_US
        return Known(past.items[newest_first], ages.astype(np.float32), moment, self._values(row))

    def _values(self, row: int) -> dict[str, Any]:
        values = _row(self._rows.context, row)
        place = int(np.searchsorted(self._users, self._rows.users[row]))
        there = place < len(self._users) and self._users[place] == self._rows.users[row]
        return values | _row(self._profiles, place) if there else values


def _row(table: pa.Table, row: int) -> dict[str, Any]:
    """Values by column."""
    return {name: table.column(name)[row].as_py() for name in table.column_names}


class AllowedItems:
    """Which items may stand in the answer of each row: those of the catalogue that are not excluded."""

    def __init__(self, catalogue: Int64Array, excluded: ExcludedPairs) -> None:
        """Take the items' IDs, int64 [items], ascending, and what rows leave out."""
        self._catalogue, self._excluded = catalogue, excluded
        self._left = np.ones(len(catalogue), np.bool_)
        self._out: Int64Array = np.empty(0, np.int64)

    def turn_to(self, row: int) -> None:
        """From now on, answer for this row."""
        # One array for all rows: a catalogue is long, and what a row leaves out is little.
        self._left[self._out] = True
        _, self._out = self._excluded.within(row, row + 1)
        self._left[self._out] = False

    def __call__(self, ids: Int64Array) -> BoolArray:
        """Which of some items, int64 [n], may stand in the row's answer, bool [n]."""
        places = np.minimum(np.searchsorted(self._catalogue, ids), len(self._catalogue) - 1)
        allowed: BoolArray = (self._catalogue[places] == ids) & self._left[places]
        return allowed
