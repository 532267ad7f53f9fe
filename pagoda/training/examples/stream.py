"""Positives of a window as arrays, block by block: who chose what, when, with which history, profile and context."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories, HistoryState
from pagoda.data.window import Window
from pagoda.model.encoder import Encoded, Encoder
from pagoda.model.table_inputs import among, catalogue_places, interaction_columns, no_histories, profiles_of
from pagoda.training.tables import TrainableTable

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """n positives in time order."""

    users: Int64Array
    """int64 [n]: places in the user table."""
    items: Int64Array
    """int64 [n]: places in the catalogue."""
    times_us: Int64Array
    histories: Histories
    """Their items are places in the item table."""
    profiles: Encoded
    """Features of the distinct users."""
    profile_rows: Int64Array
    """int64 [n]: which row of `profiles` is whose."""
    context: Encoded
    """Features of each positive's own moment and context."""
    number: int = 0
    """Of the blocks of a pass."""

    def __len__(self) -> int:
        return len(self.users)


@dataclass
class ExampleStream:
    """Blocks of a window's positives, for as many passes as wanted."""

    dataset: Dataset
    window: Window
    encoder: Encoder
    users: TrainableTable
    items: TrainableTable
    catalogue: Int64Array
    block_rows: int
    """Interactions read at a time."""
    before: HistoryState | None
    """Histories as of the window's start; None where the dataset declares none."""
    after: HistoryState | None = None
    """Histories as of the window's end, once a pass is complete."""
    _last: Block | None = None
    _kept: bool = False
    _complete: bool = False

    def blocks(self, *, final: bool, skip: int = 0) -> Iterator[Block]:
        """One pass. A window that is a single block is read once and kept.

        Args:
            final: No other pass follows, so the histories before the window need not be kept for it.
            skip: So many first blocks are read only for the histories of those that follow.
        """
        if self._kept:
            yield self.last
            return
        state, number = self.before if final else copy.deepcopy(self.before), 0
        for number, batch in enumerate(self._batches()):
            if number < skip:
                self._skip(batch, state)
            elif len(block := self._block(batch, state, number)):
                self._last = block
                yield block
        self.after, self._kept, self._complete = state, number == 0, True

    def complete(self) -> None:
        """Make sure that a pass is complete, as it is not where training resumed from its very end."""
        if not self._complete:
            for _ in self.blocks(final=True):
                pass

    @property
    def last(self) -> Block:
        """The block that a pass gave last; it is not empty."""
        if self._last is None:
            raise RuntimeError("there was no pass yet")
        return self._last

    def _batches(self) -> Iterator[pa.RecordBatch]:
        spec = self.dataset.spec
        columns = interaction_columns(spec)
        events = {*spec.positives, *spec.history_events}
        return self.dataset.batches(self.window, events=events, columns=columns, batch_rows=self.block_rows)

    def _skip(self, batch: pa.RecordBatch, state: HistoryState | None) -> None:
        if state is not None:
            users, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
            times_us = batch.column("timestamp").cast(pa.int64()).to_numpy()
            state.advance(users, items, times_us, among(batch.column("event"), self.dataset.spec.history_events))

    def _block(self, batch: pa.RecordBatch, state: HistoryState | None, number: int) -> Block:
        spec = self.dataset.spec
        user_ids, item_ids = (batch.column(name).to_numpy() for name in ("user_id", "item_id"))
        times_us = batch.column("timestamp").cast(pa.int64()).to_numpy()
        positive = np.flatnonzero(among(batch.column("event"), spec.positives))
        enters = among(batch.column("event"), spec.history_events)
        histories = state.advance(user_ids, item_ids, times_us, enters) if state else no_histories(len(batch))
        user_ids, times_us = user_ids[positive], times_us[positive]
        profiles, profile_rows = profiles_of(self.dataset, self.encoder, user_ids)
        rows = pa.Table.from_batches([batch]).take(positive)
        return Block(
            users=self.users.places(user_ids),
            items=catalogue_places(self.catalogue, item_ids[positive], self.dataset),
            times_us=times_us,
            histories=replace(histories.take(positive), items=self.items.places(histories.items)),
            profiles=profiles,
            profile_rows=profile_rows,
            context=self.encoder.encode_table("user", rows, times_us, source="context"),
            number=number,
        )
