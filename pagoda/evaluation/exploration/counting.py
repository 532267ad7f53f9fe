"""One pass over what was shown and chosen: counts by channel and place, and of each item that was explored."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.channels.merging import EXPLORE
from pagoda.config.channels import CHANNEL_NAMES
from pagoda.data.dataset import Dataset
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.ids import user_places
from pagoda.data.spec import IMPRESSION
from pagoda.data.window import Window
from pagoda.model.table_inputs import among

GROUPS = 400
"""Of users, by a hash, for intervals: memory follows these, whatever the users."""
PLACES = 1000
"""Of an answer; what stands further down counts as the last of these."""
_COLUMNS = ("user_id", "item_id", "event", "timestamp", "channels", "position", "propensity")
NEVER = np.iinfo(np.int64).max
"""When what was not explored was."""
Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass
class ShownCounts:
    """Of rows with a receipt, by group of users; the last axis says how many were shown, and how many positives."""

    places: Float64Array = field(default_factory=lambda: np.zeros((GROUPS, 2, PLACES, 2)))
    """[groups, of others or explored, place, 2]"""
    channels: Float64Array = field(default_factory=lambda: np.zeros((GROUPS, len(CHANNEL_NAMES), 2)))
    """[groups, channel, 2]; an item that several found counts for each."""
    inverse: Float64Array = field(default_factory=lambda: np.zeros((GROUPS, 2)))
    """[groups, 2], of what was explored, each counted 1 / propensity."""


class ItemCounts:
    """Of each item of the catalogue, int64 [items]."""

    def __init__(self, items: int) -> None:
        """Nothing is counted yet."""
        self.before, self.within = np.zeros(items, np.int64), np.zeros(items, np.int64)
        """Positives before the window and in it, with and without receipts."""
        self.explored_clicks, self.later_clicks = np.zeros(items, np.int64), np.zeros(items, np.int64)
        """Positives in the window: in explored places, and elsewhere after the first of these."""
        self.first_us = np.full(items, NEVER)
        """When it was first shown as explored in the window."""


def count_shown(dataset: Dataset, window: Window) -> tuple[ShownCounts, ItemCounts]:
    """Read the impressions and positives of `window`, and the positives before it. Memory follows the catalogue."""
    slots = Slots(dataset.items().column("item_id").to_numpy())
    shown, items = ShownCounts(), ItemCounts(len(slots))
    span, positives = dataset.span(), dataset.spec.positives
    if span.start < window.start:
        earlier = Window(start=span.start, end=window.start)
        for batch in dataset.batches(earlier, events=positives, columns=["item_id"]):
            items.before += _counted(slots.find(batch.column(0).to_numpy()), len(slots))
    for batch in dataset.batches(window, events={IMPRESSION, *positives}, columns=_COLUMNS):
        clicked, explored = among(batch.column("event"), positives), _of_channel(batch, EXPLORE)
        _count_shown(shown, batch, clicked, explored)
        _count_items(items, slots.find(batch.column("item_id").to_numpy()), batch, clicked, explored)
    return shown, items


def _count_shown(shown: ShownCounts, batch: pa.RecordBatch, clicked: BoolArray, explored: BoolArray) -> None:
    told = batch.column("position").is_valid().to_numpy(zero_copy_only=False)
    groups = (user_places(batch.column("user_id").to_numpy()) * GROUPS).astype(np.int64)
    kinds, places = clicked.astype(np.int64), np.zeros(len(told), np.int64)
    places[told] = np.minimum(batch.column("position").drop_null().to_numpy(), PLACES - 1)
    at = groups[told], explored[told].astype(np.int64), places[told], kinds[told]
    np.add.at(shown.places, at, 1)
    rows, names = _channels(batch)
    np.add.at(shown.channels, (groups[rows], names, kinds[rows]), 1)
    drawn = explored & batch.column("propensity").is_valid().to_numpy(zero_copy_only=False)
    propensities = batch.column("propensity").filter(pa.array(drawn)).to_numpy()
    np.add.at(shown.inverse, (groups[drawn], kinds[drawn]), 1 / propensities)


def _count_items(
    items: ItemCounts, places: Int64Array, batch: pa.RecordBatch, clicked: BoolArray, explored: BoolArray
) -> None:
    there, size = places != MISSING, len(items.before)
    times_us = batch.column("timestamp").cast(pa.int64()).to_numpy()
    first = there & explored & ~clicked
    np.minimum.at(items.first_us, places[first], times_us[first])
    chosen = there & clicked
    placed = np.zeros(len(places), np.bool_)
    placed[_channels(batch)[0]] = True  # What was searched for or linked to stood in no place of an answer.
    elsewhere = np.flatnonzero(chosen & ~explored & placed)
    later = elsewhere[times_us[elsewhere] > items.first_us[places[elsewhere]]]
    items.within += _counted(places[chosen], size)
    items.explored_clicks += _counted(places[chosen & explored], size)
    items.later_clicks += _counted(places[later], size)


def _counted(places: Int64Array, size: int) -> Int64Array:
    return np.bincount(places[places != MISSING], minlength=size)


def _of_channel(batch: pa.RecordBatch, name: str) -> BoolArray:
    """Which rows are of items that a channel found, bool [n]."""
    rows, names = _channels(batch)
    found = np.zeros(batch.num_rows, np.bool_)
    found[rows[names == CHANNEL_NAMES.index(name)]] = True
    return found


def _channels(batch: pa.RecordBatch) -> tuple[Int64Array, Int64Array]:
    """Pairs of row and place among `CHANNEL_NAMES`, int64 [m] each; of channels that this release knows."""
    lists = batch.column("channels")
    rows = pc.list_parent_indices(lists).to_numpy()
    names = pc.index_in(pc.list_flatten(lists), pa.array(CHANNEL_NAMES)).fill_null(MISSING).to_numpy()
    known = names != MISSING
    return rows[known].astype(np.int64), names[known].astype(np.int64)
