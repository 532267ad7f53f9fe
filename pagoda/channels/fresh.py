"""The channel `fresh`: the items that came last."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pagoda.channels.base import Allowed, ChannelTable, Int64Array, Known, Ranked, TableSource
from pagoda.channels.item_lists import ItemLists, best, first_allowed
from pagoda.channels.positives import count_by_item, interactions
from pagoda.config.channels import Fresh
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.ids import user_places
from pagoda.data.layout import DAY_US
from pagoda.data.spec import FeatureSpec

_NEVER = np.iinfo(np.int64).max


class FreshKind:
    """Writes and opens the tables of `fresh`."""

    def refuse(self, declared: Fresh, spec: FeatureSpec) -> None:
        """See `ChannelKind.refuse`: any data has items that came last."""

    def write(self, folder: Path, declared: Fresh, source: TableSource) -> None:
        """See `ChannelKind.write`. It reads all interactions that there are: each may be an item's first."""
        newest = newest_items(source, declared.days, declared.kept)
        counts = count_by_item(source, declared.days)[newest]
        ItemLists.write(folder, {None: best(source.items[newest], counts.astype(np.float64), declared.kept)})

    def open(self, folder: Path, declared: Fresh) -> FreshTable:
        """See `ChannelKind.open`."""
        return FreshTable(ItemLists.open(folder))


class FreshTable(ChannelTable):
    """The newest items of one version."""

    def __init__(self, lists: ItemLists) -> None:
        """Answer from the one list of `lists`."""
        self._newest, self.items = lists.of(None), lists.items

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """See `ChannelTable.candidates`; a score is a number of positives since the item came."""
        return first_allowed(self._newest, allowed, k)


def newest_items(source: TableSource, days: float, kept: int) -> Int64Array:
    """Places of the source's items that came in the last `days` of the window's past, at most the `kept` newest.

    What is left of `kept` goes to items without any interaction. Which of these came last nobody knows: a hash of their
    IDs draws them, since the lowest would be the oldest where IDs are counted upwards.
    """
    births = births_of(source)
    came = np.flatnonzero((births >= source.window.end_us - days * DAY_US) & (births < _NEVER))
    came = came[np.argsort(-births[came], kind="stable")[:kept]]
    untouched = np.flatnonzero(births == _NEVER)
    drawn = untouched[np.argsort(user_places(source.items[untouched]), kind="stable")[: kept - len(came)]]
    return np.sort(np.concatenate([came, drawn]))


def births_of(source: TableSource) -> Int64Array:
    """When each of the source's items had its first interaction, in microseconds since 1970, UTC, int64 [i].

    Of one that had none it is the greatest int64.
    """
    items, births = Slots(source.items), np.full(len(source.items), _NEVER)
    for batch in interactions(source, ["item_id", "timestamp"]):
        places = items.find(batch.column("item_id").to_numpy())
        times, there = batch.column("timestamp").cast("int64").to_numpy(), places != MISSING
        np.minimum.at(births, places[there], times[there])
    return births
