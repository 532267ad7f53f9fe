"""Positives of a window as arrays, block by block: who chose what, when, with which history, profile and context."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from pagoda.training.share import WHOLE, Share
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
    events: Int64Array | None = None
    """int64 [n], where others are among positives: 0 is one of these, i the i-th of the stream's `others`."""
    everyones: EveryonesRows | None = None
    """Where several processes share a window: the rows of all of them, of which the n are this one's."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def every_item(self) -> Int64Array:
        """int64 [m]: what was chosen, by users of all processes."""
        return self.items if self.everyones is None else self.everyones.items

    def own(self, rows: Int64Array) -> tuple[Int64Array, Int64Array | slice]:
        """Of m rows of all processes (int64 [k]) those that are of this block, and which of the k they are."""
        if self.everyones is None:
            return rows, slice(None)
        at = self.everyones.at[rows]
        mine = np.flatnonzero(at >= 0)
        return at[mine], mine


class EveryonesRows(NamedTuple):
    """m positives in time order: those of all processes, each of which knows who is whose."""

    items: Int64Array
    """int64 [m]: what, as places in the catalogue."""
    at: Int64Array
    """int64 [m]: which row of this process's block each is; -1: another's."""


@dataclass
class ExampleStream:
    """Blocks of a window's positives, for as many passes as wanted."""

    dataset: Dataset
    window: Window
    encoder: Encoder
    users: TrainableTable | None
    """None: users stay what they are called by, as items of histories do."""
    items: TrainableTable | None
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
    share: Share = WHOLE
    """Whose users' examples and histories these are; of other users no more is kept than what they chose."""
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
            own, everyones = self._own(batch)
            if number < skip:
                self._skip(own, state)
            else:
                block = replace(self._block(own, state, number), everyones=everyones)
                if len(block):
                    self._last = block
                if len(block.every_item):
                    yield block
            if everyones and state is not None:
                state.reach(int(batch.column("timestamp").cast(pa.int64())[-1].as_py()))
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
            events=_numbers(events.take(pa.array(taken)), self.others) if self.others else None,
        )

    def _own(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, EveryonesRows | None]:
        """The rows of this process's users and, where it is not alone, the positives of all."""
        if self.share.count == 1:
            return batch, None
        ours = self.share.has(batch.column("user_id").to_numpy())
        taken, _ = counted(batch, (*self.dataset.spec.positives, *self.others), self.counting)
        items = catalogue_places(self.catalogue, batch.column("item_id").to_numpy()[taken], self.dataset)
        mine = ours[taken]
        return batch.filter(pa.array(ours)), EveryonesRows(items, np.where(mine, np.cumsum(mine) - 1, -1))

    def _placed(self, moments: UserMoments) -> UserMoments:
        if self.users is None or self.items is None:
            return moments
        histories = replace(moments.histories, items=self.items.places(moments.histories.items))
        return replace(moments, users=self.users.places(moments.users), histories=histories)


def _numbers(events: pa.Array, others: tuple[str, ...]) -> Int64Array:
    """Which of `others` each is, from 1 on, int64 [n]; 0: none of them."""
    places = pc.index_in(events, value_set=pa.array(others, pa.string()))
    return np.asarray(pc.fill_null(pc.add(places, 1), 0), np.int64)
