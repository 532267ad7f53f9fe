"""The channel `item_to_item`: items that go with a user's last items, by who chose both or by their vectors."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from pagoda.channels.base import NOTHING, Allowed, Float32Array, Int64Array, Known, Ranked, TableSource
from pagoda.channels.item_lists import best_allowed
from pagoda.config.channels import ItemToItem
from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.embeddings.sorted_ids import SortedIds


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
        parts = [slice(*self._starts[place : place + 2].tolist()) for place in places.tolist()]
        if not parts:
            return NOTHING
        found, which = np.unique(np.concatenate([self._neighbours[part] for part in parts]), return_inverse=True)
        weights = np.concatenate([self._weights[part] for part in parts])
        weights *= np.repeat(decays, [part.stop - part.start for part in parts])
        scores = np.bincount(which, weights, len(found)).astype(np.float32)
        # Places ascend as IDs do, so of equal scores the order is theirs; and the IDs of most are not even read.
        ranked = best_allowed(found, scores, lambda places: allowed(self.items[places]), k)
        return Ranked(self.items[ranked.ids], ranked.scores)

    def _seeds(self, known: Known) -> tuple[Int64Array, Float32Array]:
        """Places of the user's last distinct items that have any neighbour, and what each counts, [n] both."""
        first: dict[int, int] = {}
        for place, item in enumerate(known.items.tolist()):
            first.setdefault(item, place)
        newest = np.array(list(islice(first.values(), self._declared.seeds)), np.int64)
        places, there = self._places.find(known.items[newest])
        ages = known.ages_days[newest[there]]
        # Only the order counts, and of a user who was away for years all would count nothing.
        ages = ages - ages.min(initial=np.inf)
        return places[there], np.exp2(-ages / np.float32(self._declared.half_life_days), dtype=np.float32)


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
