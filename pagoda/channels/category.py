"""The channel `category`: the best items of what a user chooses from most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain, islice, pairwise, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.channels.base import NOTHING, Allowed, Int64Array, Known, Ranked, TableSource
from pagoda.channels.item_lists import ItemLists, best
from pagoda.channels.positives import count_by_item
from pagoda.config.channels import Category
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued
from pagoda.embeddings.array_files import open_array, save_array
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


class CategoryTable:
    """The categories of one version's items, and the best items of each."""

    def __init__(self, lists: ItemLists, pairs: _Pairs, declared: Category) -> None:
        """Answer from `lists`, whose places are those of the pairs' categories."""
        self._lists, self._pairs, self._declared = lists.in_order(), pairs, declared
        self.items = lists.items

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """See `ChannelTable.candidates`; the n-th of each category has the score 1 / n."""
        lists = [self._lists[place] for place in self._commonest(known.items[: self._declared.seeds])]
        if not lists:
            return NOTHING
        ids = np.concatenate([one.ids for one in lists])
        there = allowed(ids)
        spans = pairwise(accumulate((len(one.ids) for one in lists), initial=0))
        turns = _in_turn([ids[start:end][there[start:end]][:k].tolist() for start, end in spans], k)
        numbers = np.fromiter(turns.values(), np.int64, len(turns))
        return Ranked(np.fromiter(turns, np.int64, len(turns)), (1 / numbers).astype(np.float32))

    def _commonest(self, seeds: Int64Array) -> list[int]:
        """The commonest categories of `seeds`, of equal ones that of the newest item first."""
        start, end = (np.searchsorted(self._pairs.items, seeds, side).tolist() for side in ("left", "right"))
        found = [self._pairs.categories[slice(*span)].tolist() for span in zip(start, end, strict=True)]
        counts = Counter(chain.from_iterable(found))  # Of equal counts, the first met comes first.
        return [place for place, _ in counts.most_common(self._declared.categories)]


def _in_turn(lists: Sequence[Sequence[int]], k: int) -> dict[int, int]:
    """The first k items when `lists` take turns, and the turn of each, from 1; an item of several comes in its best."""
    turns: dict[int, int] = {}
    for turn, items in enumerate(zip_longest(*lists), 1):
        for item in items:
            if item is not None:
                turns.setdefault(item, turn)
        if len(turns) >= k:
            break
    return dict(islice(turns.items(), k))


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
