"""Positives of a window as arrays, block by block: who chose what, when, with which history, profile and context."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import kinds_of
from pagoda.data.history.history_state import HistoryState
from pagoda.data.window import Window
from pagoda.model.encoder import Encoder
from pagoda.model.table_inputs import among, catalogue_places, interaction_columns, no_histories
from pagoda.model.user_moments import UserMoments, user_moments
from pagoda.training.examples.made_interests import MadeInterests
from pagoda.training.examples.positive_weights import MeanWeight, relative_weights
from pagoda.training.examples.shown_weights import counted, multiplied, shown_columns
from pagoda.training.tables import TrainableTable

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """n positives in time order, or positives and what else the stream takes for examples."""

    moments: UserMoments
    """Who chose, and when; users and items as places in their tables."""
    items: Int64Array
    """int64 [n]: what, as places in the catalogue."""
    number: int = 0
    """Of the blocks of a pass."""
    weights: NDArray[np.float32] | None = None
    """float32 [n], 1 on average over the window; None: all have 1."""
    chosen: NDArray[np.bool_] | None = None
    """bool [n], which are positives where others are among them; None: all."""

    def __len__(self) -> int:
        return len(self.items)


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
    mean_weight: MeanWeight
    """Of the window's positives, where the dataset declares what they weigh."""
    before: HistoryState | None
    """Histories as of the window's start; None where the dataset declares none."""
    counting: PositivesConfig
    """Which examples count more or less by what showed their items, or not at all."""
    interests: MadeInterests | None = None
    """What is shown of users' interests; None: what they say."""
    others: tuple[str, ...] = ()
    """Events that are examples beside positives."""
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
        columns = [*interaction_columns(spec), *shown_columns(self.counting)]
        events = {*spec.positives, *self.others, *spec.history_events}
        return self.dataset.batches(self.window, events=events, columns=columns, batch_rows=self.block_rows)

    def _skip(self, batch: pa.RecordBatch, state: HistoryState | None) -> None:
        if state is not None:
            users, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
            times_us, spec = batch.column("timestamp").cast(pa.int64()).to_numpy(), self.dataset.spec
            events = batch.column("event")
            state.advance(users, items, times_us, among(events, spec.history_events), kinds_of(events, spec))

    def _block(self, batch: pa.RecordBatch, state: HistoryState | None, number: int) -> Block:
        spec = self.dataset.spec
        user_ids, item_ids = (batch.column(name).to_numpy() for name in ("user_id", "item_id"))
        times_us = batch.column("timestamp").cast(pa.int64()).to_numpy()
        events = batch.column("event")
        taken, shown = counted(batch, (*spec.positives, *self.others), self.counting)
        enters, kinds = among(events, spec.history_events), kinds_of(events, spec)
        histories = state.advance(user_ids, item_ids, times_us, enters, kinds) if state else no_histories(len(batch))
        rows = pa.Table.from_batches([batch]).take(taken)
        moments = user_moments(
            self.dataset,
            self.encoder,
            user_ids[taken],
            times_us[taken],
            histories=histories.take(taken),
            context=rows,
        )
        if self.interests:
            moments = self.interests.shown(moments, number)
        return Block(
            moments=self._placed(moments),
            items=catalogue_places(self.catalogue, item_ids[taken], self.dataset),
            number=number,
            weights=multiplied(relative_weights(rows, self.dataset, self.mean_weight), shown),
            chosen=among(events.take(pa.array(taken)), spec.positives) if self.others else None,
        )

    def _placed(self, moments: UserMoments) -> UserMoments:
        histories = replace(moments.histories, items=self.items.places(moments.histories.items))
        return replace(moments, users=self.users.places(moments.users), histories=histories)
