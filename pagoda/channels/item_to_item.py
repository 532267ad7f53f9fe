"""The channel `item_to_item`: items that go with a user's last items, by who chose both or by their vectors."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.base import NOTHING, Allowed, Float32Array, Int64Array, Known, Ranked, TableSource, anything
from pagoda.channels.item_lists import best_allowed
from pagoda.config.channels import ItemToItem
from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.embeddings.sorted_ids import SortedIds

Int32Array = NDArray[np.int32]
_WHERE_BITS = 32
_WHERE = (1 << _WHERE_BITS) - 1


class ItemToItemTable:
    """Neighbours of each item, mapped: `ids.npy` int64 [n], ascending; of the i-th, those from `starts[i]` to
    `starts[i + 1]` (int64 [n + 1]) of `neighbours.npy` (int32 [m], places in `ids`) and `weights.npy` (float32 [m])."""

    def __init__(self, folder: Path, declared: ItemToItem) -> None:
        self._declared = declared
        self.items: Int64Array = open_array(folder / "ids.npy", np.int64, (None,))
        self._starts: Int64Array = open_array(folder / "starts.npy", np.int64, (len(self.items) + 1,))
        size = (int(self._starts[-1]),)
        self._neighbours = open_array(folder / "neighbours.npy", np.int32, size)
        self._weights: Float32Array = open_array(folder / "weights.npy", np.float32, size)
        self._places = SortedIds(self.items)

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """By Σ over the last items of similarity · 0.5 ^ (age / half-life); see `ChannelTable`."""
        places, decays = self._seeds(known)
        if not len(places):
            return NOTHING
        starts, stops = self._starts[places], self._starts[places + 1]
        parts = list(map(slice, starts.tolist(), stops.tolist()))
        near = np.concatenate([self._neighbours[part] for part in parts])
        weights = np.concatenate([self._weights[part] for part in parts])
        weights *= decays.repeat(stops - starts)
        found, scores = _summed(near, weights)
        # Places ascend as IDs do, so of equal scores the order is theirs; and the IDs of most are not even read.
        among: Allowed = anything if allowed is anything else lambda places: allowed(self.items[places])
        ranked = best_allowed(found, scores, among, k)
        return Ranked(self.items[ranked.ids], ranked.scores)

    def _seeds(self, known: Known) -> tuple[Int64Array, Float32Array]:
        """Places of the user's last distinct items that have any neighbour, and what each counts, [n] both."""
        items = known.items.tolist()
        newest = dict(zip(reversed(items), reversed(known.ages_days.tolist()), strict=True))
        distinct = list(islice(dict.fromkeys(items), self._declared.seeds))
        places, there = self._places.find(np.array(distinct, np.int64))
        ages = np.array([newest[item] for item in distinct], np.float32)[there]
        # Only the order counts, and of a user who was away for years all would count nothing.
        ages -= ages[:1].copy()
        return places[there], np.exp2(-ages / np.float32(self._declared.half_life_days), dtype=np.float32)


def _summed(places: Int32Array, weights: Float32Array) -> tuple[Int64Array, Float32Array]:
    """Distinct places, ascending, and the sum of the weights of each, in their order."""
    # One number of a place and where it stands: numpy sorts numbers several times as fast as it says their order.
    both = (places.astype(np.int64) << _WHERE_BITS) | np.arange(len(places))
    both.sort()
    ascending, where = both >> _WHERE_BITS, both & _WHERE
    begins = np.empty(len(both), np.bool_)
    begins[:1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=begins[1:])
    found = ascending[begins]
    scores = np.bincount(begins.cumsum() - 1, weights[where], len(found))
    return found, scores.astype(np.float32)


class ItemToItemKind:
    """How its tables are written and opened; see `ChannelKind`."""

    def write(self, folder: Path, declared: ItemToItem, source: TableSource) -> None:
        """Measure which items go with which, by eight million of the last days' positives at most, or by vectors;
        memory follows these and the catalogue."""
        # SciPy, with which neighbours are found, is not where tables are only asked.
        from pagoda.channels.neighbours.item_similarity import find_neighbours

        ids, near = find_neighbours(declared, source)
        save_array(folder / "ids.npy", ids, np.int64)
        save_array(folder / "starts.npy", near.indptr, np.int64)
        save_array(folder / "neighbours.npy", near.indices, np.int32)
        save_array(folder / "weights.npy", near.data, np.float32)

    def refuse(self, declared: ItemToItem, spec: FeatureSpec) -> None:
        """Every dataset has what it needs: positives, or items."""

    def open(self, folder: Path, declared: ItemToItem) -> ItemToItemTable:
        """Map the table; see `ChannelKind`."""
        return ItemToItemTable(folder, declared)
