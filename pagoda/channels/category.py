"""The channel `category`: the best items of what a user chooses from most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.channels.base import NOTHING, Allowed, ChannelTable, Int64Array, Known, Ranked, TableSource
from pagoda.channels.item_lists import ItemLists, best, first_allowed
from pagoda.channels.positives import count_by_item
from pagoda.config.channels import Category
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.embeddings.sorted_ids import check_increasing
from pagoda.errors import ConfigError, IntegrityError

_PAIRS, _ITEMS, _CATEGORIES = "pairs.json", "pair_items.npy", "pair_categories.npy"


class _Pairs(NamedTuple):
    """Which item is of which category, by ascending item."""

    items: Int64Array
    """[m]"""
    categories: Int64Array
    """Places among the categories, [m]."""


class CategoryKind:
    """Writes and opens the tables of `category`."""

    def refuse(self, declared: Category, spec: FeatureSpec) -> None:
        """See `ChannelKind.refuse`."""
        category_feature(declared.by, spec)

    def write(self, folder: Path, declared: Category, source: TableSource) -> None:
        """See `ChannelKind.write`."""
        pairs, words = _categories(source, category_feature(declared.by, source.dataset.spec))
        clicks = _clicks(pairs.items, count_by_item(source, declared.days), source)
        lists = _lists(pairs, clicks, declared.kept)
        ItemLists.write(folder, {words[place]: ranked for place, ranked in lists.items()})
        kept = np.isin(pairs.categories, list(lists))
        save_array(folder / _ITEMS, pairs.items[kept], np.int64)
        save_array(folder / _CATEGORIES, np.searchsorted(list(lists), pairs.categories[kept]), np.int32)
        (folder / _PAIRS).write_bytes(orjson.dumps({"pairs": int(kept.sum())}))

    def open(self, folder: Path, declared: Category) -> CategoryTable:
        """See `ChannelKind.open`."""
        rows = (_read_pairs(folder / _PAIRS),)
        items = open_array(folder / _ITEMS, np.int64, rows)
        categories = open_array(folder / _CATEGORIES, np.int32, rows)
        return CategoryTable(ItemLists.open(folder), _Pairs(items, categories), declared)


class CategoryTable(ChannelTable):
    """The categories of one version's items, and the best items of each."""

    def __init__(self, lists: ItemLists, pairs: _Pairs, declared: Category) -> None:
        """Answer from `lists`, whose places are those of the pairs' categories."""
        self._lists, self._pairs, self._declared = lists.in_order(), pairs, declared
        self.items = lists.items
        longest = max((len(one.ids) for one in self._lists), default=0)
        self._turns = np.arange(1, longest + 1, dtype=np.int16)  # As so short numbers, NumPy sorts them by their bits.
        self._disjoint = len(pairs.items) > 0 and check_increasing(pairs.items) is None

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """See `ChannelTable.candidates`; the n-th of each category has the score 1 / n."""
        lists = [
            first_allowed(self._lists[place], allowed, k).ids
            for place in self._commonest(known.items[: self._declared.seeds])
        ]
        if not lists:
            return NOTHING
        ids, turns = np.concatenate(lists), np.concatenate([self._turns[: len(one)] for one in lists])
        order = np.argsort(turns, kind="stable")
        if not self._disjoint:  # An item of several categories comes in its best turn.
            order = order[np.sort(np.unique(ids[order], return_index=True)[1])]
        order = order[:k]
        return Ranked(ids[order], (1 / turns[order]).astype(np.float32))

    def _commonest(self, seeds: Int64Array) -> list[int]:
        """The commonest categories of `seeds`, of equal ones that of the newest item first."""
        counts = Counter(self._of(seeds))  # Of equal counts, the first met comes first.
        return sorted(counts, key=counts.__getitem__, reverse=True)[: self._declared.categories]

    def _of(self, seeds: Int64Array) -> Iterable[int]:
        """The categories of the first of `seeds`, then those of the second, and so on."""
        start = self._pairs.items.searchsorted(seeds)
        if self._disjoint:
            there = self._pairs.items.take(start, mode="clip") == seeds
            found: list[int] = self._pairs.categories[start[there]].tolist()
            return found
        spans = zip(start.tolist(), self._pairs.items.searchsorted(seeds, "right").tolist(), strict=True)
        return chain.from_iterable(self._pairs.categories[slice(*span)].tolist() for span in spans)


def category_feature(by: str, spec: FeatureSpec) -> Categorical | MultiValued:
    """The feature that says which category an item is of.

    Raises:
        ConfigError: There is no such one.
    """
    features = {one.name: one for one in spec.of("item") if isinstance(one, Categorical | MultiValued)}
    if by not in features:
        raise ConfigError(
            f"channels: category: by {by!r} is no categorical or multi-valued feature of items "
            f"(those are: {', '.join(features) or 'none'})"
        )
    return features[by]


def _categories(source: TableSource, feature: Categorical | MultiValued) -> tuple[_Pairs, list[str]]:
    """The categories of all items of the dataset, for what a user had may be gone; no word is no category."""
    table = source.dataset.items()
    column = table[feature.column].combine_chunks()
    if isinstance(feature, MultiValued):
        lists = pc.fill_null(column, pa.scalar(list(feature.default), pa.list_(pa.string())))
        rows, words = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    else:
        rows, words = np.arange(len(column)), pc.fill_null(column, feature.default)
    encoded = words.dictionary_encode()
    there = pc.fill_null(pc.not_equal(words, ""), False).to_numpy(zero_copy_only=False)
    categories = pc.fill_null(encoded.indices, MISSING).to_numpy()[there]
    both = np.unique(np.stack([rows[there], categories]), axis=1)  # An item may name one category twice.
    return _Pairs(table["item_id"].to_numpy()[both[0]], both[1]), encoded.dictionary.to_pylist()


def _lists(pairs: _Pairs, clicks: Int64Array, kept: int) -> dict[int, Ranked]:
    """The best items of each category that has any, by its place, ascending; `clicks` are of each pair's item."""
    chosen = np.flatnonzero(clicks)
    order = chosen[np.argsort(pairs.categories[chosen], kind="stable")]
    places, starts = np.unique(pairs.categories[order], return_index=True)
    owned = np.split(order, starts[1:])
    ranked = (best(pairs.items[own], clicks[own].astype(np.float64), kept) for own in owned)
    return dict(zip(places.tolist(), ranked, strict=False))  # Without any, one empty part is left.


def _clicks(items: Int64Array, counts: Int64Array, source: TableSource) -> Int64Array:
    """Positives of each of `items`, int64 [m], 0 for what is no candidate; `counts` are those of the source's items."""
    clicks: Int64Array = np.append(counts, 0)[Slots(source.items).find(items)]  # What is `MISSING` is the last.
    return clicks


def _read_pairs(path: Path) -> int:
    try:
        return int(orjson.loads(path.read_bytes())["pairs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
