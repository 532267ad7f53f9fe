"""The channel `item_to_item`: items that go with a user's last items, by who chose both or by their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.base import (
    NOTHING,
    Allowed,
    Ask,
    ChannelTable,
    Float32Array,
    Int64Array,
    Known,
    Ranked,
    TableSource,
    anything,
)
from pagoda.channels.item_lists import first_allowed
from pagoda.config.channels import ItemToItem
from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.embeddings.sorted_ids import SortedIds

Int32Array = NDArray[np.int32]
_AT_ONCE = 64
"""Users: with 100 seeds of 1,000 neighbours each these make less than 2^23 pairs, so 6 + 31 + 23 bits hold one."""
_PLACE_BITS, _WHERE_BITS = 31, 23
_PLACE, _WHERE = (1 << _PLACE_BITS) - 1, (1 << _WHERE_BITS) - 1


class ItemToItemTable(ChannelTable):
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
        return self.candidates_of_all([Ask(known, allowed, k)])[0]

    def candidates_of_all(self, asks: Sequence[Ask]) -> list[Ranked]:
        """See `ChannelTable`: what takes longest of one user are NumPy's calls, and several need no more of them."""
        if len(asks) > _AT_ONCE:
            return [*self.candidates_of_all(asks[:_AT_ONCE]), *self.candidates_of_all(asks[_AT_ONCE:])]
        users, places, decays = self._seeds([ask.known for ask in asks])
        starts = self._starts[places]
        lengths = self._starts[places + 1] - starts
        rows = (starts - lengths.cumsum() + lengths).repeat(lengths)
        rows += np.arange(len(rows))
        near, weights = self._neighbours.take(rows), self._weights.take(rows) * decays.repeat(lengths)
        bounds, found, scores = _best_first(*_summed(users.repeat(lengths), near, weights), len(asks))
        return [
            self._named(Ranked(found[begin:end], scores[begin:end]), ask)
            for ask, (begin, end) in zip(asks, pairwise(bounds), strict=True)
        ]

    def _named(self, ranked: Ranked, ask: Ask) -> Ranked:
        """The first of these places that may stand in the answer, as items; the IDs of most are not even read."""
        may = ask.allowed
        among: Allowed = anything if may is anything else lambda places: may(self.items[places])
        places, scores = first_allowed(ranked, among, ask.k)
        return Ranked(self.items[places], scores)

    def _seeds(self, all_known: Sequence[Known]) -> tuple[Int64Array, Int64Array, Float32Array]:
        """Of all users' last distinct items that have any neighbour: whose, the places, and what each counts, [n]."""
        ids, ages, numbers = list[int](), [NOTHING.scores], list[int]()
        for known in all_known:
            last = _last_distinct(known.items.tolist(), self._declared.seeds)
            ids += last
            ages.append(known.ages_days[list(last.values())])
            numbers.append(len(last))
        places, there = self._places.find(np.array(ids, np.int64))
        users = np.arange(len(numbers)).repeat(numbers)[there]
        since = np.concatenate(ages)[there]
        # Only the order counts, and of a user who was away for years all would count nothing.
        since -= since[users.searchsorted(users)]
        return users, places[there], np.exp2(-since / np.float32(self._declared.half_life_days), dtype=np.float32)


def _last_distinct(items: Sequence[int], most: int) -> dict[int, int]:
    """The first distinct items, and where each first stands."""
    found: dict[int, int] = {}
    for place, item in enumerate(items):
        if item not in found:
            if len(found) == most:
                break
            found[item] = place
    return found


def _summed(users: Int64Array, places: Int32Array, weights: Float32Array) -> tuple[Int64Array, Float32Array]:
    """Distinct pairs of a user and a place, a number each, ascending, and the sum of their weights in their order."""
    # One number of a pair and where it stands: NumPy sorts numbers several times as fast as it says their order.
    both = (((users << _PLACE_BITS) | places) << _WHERE_BITS) | np.arange(len(places))
    both.sort()
    ascending, where = both >> _WHERE_BITS, both & _WHERE
    begins = np.empty(len(both), np.bool_)
    begins[:1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=begins[1:])
    found = ascending[begins]
    return found, np.bincount(begins.cumsum() - 1, weights[where], len(found)).astype(np.float32)


def _best_first(pairs: Int64Array, scores: Float32Array, users: int) -> tuple[list[int], Int64Array, Float32Array]:
    """Where each user's places begin, and the last of them ends; places by falling score, and the scores."""
    own = pairs >> _PLACE_BITS
    # Of a number that is not negative, the bits of a float32 have its order.
    both = (((own << _PLACE_BITS) | (_PLACE - scores.view(np.int32))) << _WHERE_BITS) | np.arange(len(pairs))
    both.sort()
    order = both & _WHERE
    # Places ascend as IDs do, so of equal scores the order is theirs.
    return own.searchsorted(np.arange(users + 1)).tolist(), (pairs & _PLACE)[order], scores[order]


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
