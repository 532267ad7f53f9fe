"""A collection as it is at one moment, and search in it."""

from __future__ import annotations

import operator
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from cachetools import LRUCache, cachedmethod
from numpy.typing import NDArray

from pagoda.errors import UnavailableError
from pagoda.index.base import Hits
from pagoda.index.in_process.changed_items import ChangedItems, ChangedWords
from pagoda.index.in_process.indexed_items import REMEMBERED_BYTES, IndexedItems
from pagoda.index.in_process.passing import Bits, Passing, Rows, best_words, bits_of, without
from pagoda.item_vectors.exact_search import exact_top_k
from pagoda.item_vectors.fields import ITEM_KEY
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.matching import matching
from pagoda.item_vectors.texts import TEXT

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Chosen:
    """What passes a filter."""

    indexed: Passing
    changed: Rows
    """Places in the overlay."""

    @property
    def nbytes(self) -> int:
        return self.indexed.nbytes + self.changed.nbytes


@dataclass(frozen=True)
class _Found:
    """What one query finds among the items of one table, best first."""

    rows: Rows
    scores: Vectors


class Snapshot:
    """Indexed items, with the overlay over them."""

    def __init__(self, items: IndexedItems, overlay: ChangedItems, refine: int, before: Snapshot | None = None) -> None:
        """Nothing is searched yet; it costs what the overlay is long.

        Args:
            items: As they were built.
            overlay: What has changed since.
            refine: As in `CollectionConfig`.
            before: Of the same items with fewer changes.
        """
        self._words_before = before._read_words if before else None
        self.items, self._overlay, self._refine = items, overlay, refine
        self._outdated = items.rows_of(overlay.touched)
        self._remembered: LRUCache[Filter, _Chosen] = LRUCache(REMEMBERED_BYTES, operator.attrgetter("nbytes"))
        self._lock = threading.Lock()

    @property
    def _read_words(self) -> ChangedWords | None:
        """What has been read of changed items' words: its own, or those that it would begin with."""
        own: ChangedWords | None = self.__dict__.get("_words")
        return own or self._words_before

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.items) - len(self._outdated) + len(self._overlay.ids)

    @property
    def changed(self) -> int:
        """How many items changed since the build, deleted ones among them."""
        return len(self._overlay.touched)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.items.index.vectors.shape[1])

    def count(self, wanted: Filter) -> int:
        """How many items pass a filter. Of one that was searched by, that is known already."""
        chosen = self._chosen(wanted)
        return chosen.indexed.count + len(chosen.changed)

    def search(
        self,
        queries: Vectors,
        k: int,
        effort: int,
        wanted: Filter,
        excluded: Sequence[int],
        *,
        keys: bool,
    ) -> list[Hits]:
        """See `Collections.search`."""
        chosen = self._chosen(wanted) if wanted else self._all
        found = self._indexed(queries, k, effort, chosen.indexed, self.items.rows_of(excluded))
        changed = self._changed(queries, k, chosen.changed, excluded)
        return [self._hits(*both, k, keys=keys) for both in zip(found, changed, strict=True)]

    def vectors(self, ids: Sequence[int]) -> dict[int, list[float]]:
        """Vectors of items by their IDs; an item that is not there is absent."""
        wanted, changed = np.asarray(ids, np.int64), self._overlay
        rows = self.items.rows_of(np.setdiff1d(wanted, changed.touched))
        found = zip(self.items.ids[rows].tolist(), self.items.index.vectors[rows].tolist(), strict=True)
        places = np.flatnonzero(np.isin(changed.ids, wanted))
        return dict([*found, *zip(changed.ids[places].tolist(), changed.vectors[places].tolist(), strict=True)])

    def match(self, text: str, k: int, wanted: Filter, excluded: Sequence[int], *, keys: bool) -> Hits:
        """Find the k items whose words are nearest to a text, with scores of BM25; see `TextSearch`.

        Raises:
            UnavailableError: The collection was built without words.
            IntegrityError: Their index is damaged.
        """
        if (index := self.items.text) is None:
            raise UnavailableError("it was built without words; index.text says that others are built with them")
        chosen, weights = self._chosen(wanted) if wanted else self._all, index.weights(text)
        scores, rows = best_words(index, weights, k, chosen.indexed, self.items.rows_of(excluded))
        return self._hits(_Found(rows, scores), self._changed_words(weights, k, chosen.changed, excluded), k, keys=keys)

    def _changed_words(self, weights: Mapping[str, float], k: int, places: Rows, excluded: Sequence[int]) -> _Found:
        if not len(places):
            return _Found(np.zeros(0, np.int64), np.zeros(0, np.float32))
        if len(excluded):
            places = places[~np.isin(self._overlay.ids[places], np.array(excluded, np.int64))]
        scores, places = self._words.search(weights, k, places)
        return _Found(places, scores)

    @cached_property
    def _words(self) -> ChangedWords:
        """Of the changed items, once somebody looks for words."""
        found = ChangedWords(self._overlay.ids, self._overlay.columns[TEXT.name].combine_chunks(), self._words_before)
        self._words_before = None
        return found

    @cached_property
    def _all(self) -> _Chosen:
        """What passes no filter but that there is such an item."""
        size = len(self.items)
        bits = bits_of(np.ones(size, np.bool_))
        return _Chosen(Passing(without(bits, self._outdated), size), np.arange(len(self._overlay.ids)))

    @cachedmethod(operator.attrgetter("_remembered"), lock=operator.attrgetter("_lock"))
    def _chosen(self, wanted: Filter) -> _Chosen:
        changed = self._all.changed
        if len(changed):
            changed = changed[matching(self._overlay.columns, wanted)]
        return _Chosen(Passing(without(self.items.passing(wanted), self._outdated), len(self.items)), changed)

    def _indexed(self, queries: Vectors, k: int, effort: int, passing: Passing, hidden: Rows) -> list[_Found]:
        index, hidden = self.items.index, passing.of(hidden)
        if (planned := index.plan(k * self._refine, effort, passing.count)) is None:
            return _found(*self._compared(queries, k, passing, hidden))
        scores, rows = self._walked(queries, k, planned, passing, hidden)
        # A walk meets what is hidden and has no room left for others. Half as many as are wanted spoil nothing.
        if 2 * len(hidden) > k:
            better = (queries @ index.vectors[hidden].T >= scores[:, -1:]).sum(axis=1)
            if len(again := np.flatnonzero(2 * better > k)):
                planned = index.plan(k * self._refine, effort, passing.count, int(better.max()))
                scores[again], rows[again] = self._walked(queries[again], k, planned, passing, hidden)
        return _found(scores, rows)

    def _walked(
        self, queries: Vectors, k: int, planned: int | None, passing: Passing, hidden: Rows
    ) -> tuple[Vectors, Rows]:
        if planned is None:
            return self._compared(queries, k, passing, hidden)
        scores, rows = self.items.index.search(queries, k, planned, _bits(passing, hidden), self._refine)
        # Some of what passes may be where no way leads to (faiss#3186, #4727).
        if short := [place for place, row in enumerate(rows) if row[-1] < 0]:
            scores[short], rows[short] = self._compared(queries[short], k, passing, hidden)
        return scores, rows

    def _compared(self, queries: Vectors, k: int, passing: Passing, hidden: Rows) -> tuple[Vectors, Rows]:
        if (few := passing.few) is None:
            return self.items.index.compare(queries, k, _bits(passing, hidden))
        return self.items.index.compare(queries, k, few[~np.isin(few, hidden)] if len(hidden) else few)

    def _changed(self, queries: Vectors, k: int, places: Rows, excluded: Sequence[int]) -> list[_Found]:
        if not len(places):
            return [_Found(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries)
        if len(excluded):
            places = places[~np.isin(self._overlay.ids[places], np.array(excluded, np.int64))]
        vectors = self._overlay.vectors
        # To copy them takes as long as to compare them, and mostly all are wanted.
        rows, scores = exact_top_k(queries, [(places, vectors if len(places) == len(vectors) else vectors[places])], k)
        return [_Found(*both) for both in zip(rows, scores, strict=True)]

    def _hits(self, found: _Found, changed: _Found, k: int, *, keys: bool) -> Hits:
        ids, names = self.items.ids[found.rows], _keys(self.items.columns, found.rows) if keys else None
        if not len(changed.rows):
            return Hits(ids, found.scores, names)
        ids = np.concatenate([ids, self._overlay.ids[changed.rows]])
        scores = np.concatenate([found.scores, changed.scores])
        best = np.lexsort((ids, -scores))[:k]
        if names is not None:
            both = names + _keys(self._overlay.columns, changed.rows)
            names = [both[place] for place in best]
        return Hits(ids[best], scores[best], names)


def _bits(passing: Passing, hidden: Rows) -> Bits | None:
    """What may be found; None: all, for a selector costs a question a row."""
    return None if passing.all and not len(hidden) else without(passing.bits, hidden)


def _found(scores: Vectors, rows: Rows) -> list[_Found]:
    """What was found of each query, without the places that are empty, which are the last."""
    return [
        # To look at one place takes a tenth of what counting takes, and mostly all are filled.
        _Found(one, score) if one[-1] >= 0 else _Found(one[one >= 0], score[one >= 0])
        for one, score in zip(rows, scores, strict=True)
    ]


def _keys(columns: pa.Table, rows: Rows) -> list[str]:
    keys: list[str] = columns[ITEM_KEY].take(pa.array(rows)).to_pylist()
    return keys
