"""One walk through the log in event time: what each user had and did up to each positive that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories, kinds_of
from pagoda.data.history.seen_items import SeenState
from pagoda.data.window import Window
from pagoda.evaluation.opened_towers import Int64Array
from pagoda.evaluation.positives import PositiveRows
from pagoda.evaluation.ranking import ExcludedPairs
from pagoda.model.table_inputs import among, no_histories, no_history_state

BoolArray = NDArray[np.bool_]


class _Batch(NamedTuple):
    users: Int64Array
    items: Int64Array
    times_us: Int64Array
    enters: BoolArray
    """Rows that enter histories."""
    positive: BoolArray
    kinds: NDArray[np.int16] | None
    """Which event each row is, where histories say it."""

    def where(self, chosen: BoolArray) -> _Batch:
        return _Batch(
            users=self.users[chosen],
            items=self.items[chosen],
            times_us=self.times_us[chosen],
            enters=self.enters[chosen],
            positive=self.positive[chosen],
            kinds=None if self.kinds is None else self.kinds[chosen],
        )


class Walk:
    """Walks a dataset for the sake of `rows`: memory follows these, their users' past, and a batch."""

    def __init__(self, dataset: Dataset, window: Window, rows: PositiveRows) -> None:
        self._dataset, self._window, self._rows = dataset, window, rows
        self._users = np.unique(rows.users)
        self._history = no_history_state(dataset.spec)
        self._seen = SeenState(self._users)
        self.catalogue: Int64Array = dataset.items().column("item_id").to_numpy()
        """int64 [items]: all items, ascending."""
        self.clicks = np.zeros(len(self.catalogue), np.int64)
        """int64 [items]: positives on each item before the window."""
        self.histories: dict[str, Histories] = {}
        """Of each row: `live`, as of its moment (empty without a declared one); with one also `frozen` at the start."""
        self._past()
        if self._history is not None:
            self.histories["frozen"] = self._history.read(rows.users, rows.times_us)
        self._present()

    def seen(self) -> ExcludedPairs:
        """Items that each row's user had strictly earlier, each once."""
        rows, items = self._seen.seen(self._rows.users, self._rows.times_us)
        places, known = self.places(items)
        # Not `np.unique`, whose hashing takes ten times as long as sorting what is nearly sorted.
        pairs = np.sort(rows[known] * len(self.catalogue) + places[known])
        distinct = pairs[np.diff(pairs, prepend=-1) > 0]
        return ExcludedPairs(*np.divmod(distinct, len(self.catalogue)))

    def places(self, items: Int64Array) -> tuple[Int64Array, BoolArray]:
        """Positions of items in the catalogue, int64 [n], and which it has at all: a log keeps what was deleted."""
        places = np.minimum(np.searchsorted(self.catalogue, items), len(self.catalogue) - 1)
        return places, self.catalogue[places] == items

    def _past(self) -> None:
        span = self._dataset.span()
        if span.start >= self._window.start:
            return
        for batch in self._batches(Window(start=span.start, end=self._window.start)):
            places, known = self.places(batch.items[batch.positive])
            self.clicks += np.bincount(places[known], minlength=len(self.catalogue))
            ours = batch.where(np.isin(batch.users, self._users))
            self._seen.push(*ours.where(ours.positive)[:3])
            if self._history is not None:
                entering = ours.where(ours.enters)
                self._history.push(*entering[:3], kinds=entering.kinds)

    def _present(self) -> None:
        done = 0
        asked: list[Histories] = []
        for batch in self._batches(self._window):
            numbers = done + np.cumsum(batch.positive) - 1
            done += int(batch.positive.sum())
            place = np.minimum(np.searchsorted(self._rows.ordinals, numbers), len(self._rows) - 1)
            wanted = batch.positive & (self._rows.ordinals[place] == numbers)
            mine = np.isin(batch.users, self._users)
            ours = batch.where(mine)
            self._seen.push(*ours.where(ours.positive)[:3])
            asked.append(self._advance(ours).take(np.flatnonzero(wanted[mine])))
        self.histories["live"] = _laid_end_to_end(asked)

    def _advance(self, batch: _Batch) -> Histories:
        """Each row's history as of its own moment; of length 0 where the dataset declares none."""
        if self._history is not None:
            return self._history.advance(*batch[:3], enters=batch.enters, kinds=batch.kinds)
        return no_histories(len(batch.users))

    def _batches(self, window: Window) -> Iterator[_Batch]:
        spec = self._dataset.spec
        for batch in self._dataset.batches(window, events={*spec.positives, *spec.history_events}):
            yield _Batch(
                batch.column("user_id").to_numpy(),
                batch.column("item_id").to_numpy(),
                batch.column("timestamp").cast(pa.int64()).to_numpy(),
                among(batch.column("event"), spec.history_events),
                among(batch.column("event"), spec.positives),
                kinds_of(batch.column("event"), spec),
            )


def _laid_end_to_end(parts: list[Histories]) -> Histories:
    """The histories of all parts, with the events of these rows only."""
    padded = [part.padded() for part in parts]
    ends = np.cumsum(np.concatenate([each.mask.sum(axis=1) for each in padded]))
    items = np.concatenate([each.items[each.mask] for each in padded])
    times = np.concatenate([each.times_us[each.mask] for each in padded])
    told = [each.kinds[each.mask] for each in padded if each.kinds is not None]
    kinds = np.concatenate(told).astype(np.int16) if told else None
    return Histories(parts[0].length, items, times, np.concatenate([[0], ends[:-1]]), ends, kinds)
