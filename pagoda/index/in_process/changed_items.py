"""What has changed in a collection since it was built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.index.in_process.passing import Passing, Rows, best_words, bits_of
from pagoda.item_vectors.fields import ITEM_ID, VECTOR

if TYPE_CHECKING:
    from pagoda.index.in_process.text_index import Scores, TextIndex

_MORE = 2


class ChangedItems:
    """Items that stand in place of the indexed ones or beside them, by ascending ID, and IDs of all that changed."""

    def __init__(self, table: pa.Table) -> None:
        """Of what `CollectionFiles.overlay` gives."""
        self.touched: NDArray[np.int64] = table[ITEM_ID].to_numpy()
        """IDs of changed and of deleted items."""
        there = table.filter(pc.is_valid(table[VECTOR]))
        there = there.take(pc.sort_indices(there[ITEM_ID])).combine_chunks()
        self.columns = there.drop_columns(VECTOR)
        """Of m items."""
        self.ids: NDArray[np.int64] = there[ITEM_ID].to_numpy()
        """[m]"""
        vectors = there[VECTOR].combine_chunks()
        # An array of no lists does not say how long they would be.
        self.vectors: NDArray[np.float32] = vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size)
        """[m, dim]"""


@dataclass(frozen=True)
class _Part:
    index: TextIndex
    places: Rows
    """Of each of its rows, among the changed items; -1: it was changed again."""

    @property
    def left(self) -> Rows:
        """The places of those that are as they were."""
        return self.places[self.places >= 0]


class ChangedWords:
    """The words of changed items, in parts: a change of a few adds a small one, and leaves most others as they are.

    Each part has twice as many items as the next at least, so an item is read a few times, however often others change.
    How long a text is counts against those of its part.
    """

    def __init__(self, ids: NDArray[np.int64], texts: pa.Array, before: ChangedWords | None = None) -> None:
        """Of changed items.

        Args:
            ids: [m], ascending.
            texts: String [m], none null.
            before: What there was of the same collection: what is the same in it is not read again.
        """
        self._ids, self._texts, new = ids, texts, np.arange(len(ids))
        parts: list[_Part] = []
        if before is not None and len(before._ids) and len(ids):
            places = np.minimum(np.searchsorted(before._ids, ids), len(before._ids) - 1)
            equal = pc.equal(texts, before._texts.take(pa.array(places))).to_numpy(zero_copy_only=False)
            same = (before._ids[places] == ids) & equal
            moved = np.full(len(before._ids) + 1, -1)  # The last one is for -1.
            moved[places[same]] = new[same]
            new = new[~same]
            parts = [_Part(part.index, moved[part.places]) for part in before._parts]
        while parts and len(parts[-1].left) < _MORE * len(new):
            new = np.sort(np.concatenate([new, parts.pop().left]))
        self._parts: list[_Part] = [*parts, *([_read(texts, new)] if len(new) else [])]

    def search(self, weights: Mapping[str, float], k: int, places: Rows) -> tuple[Scores, Rows]:
        """The best k of some of the items: scores and places, each [m], best first."""
        wanted = np.zeros(len(self._ids) + 1, np.bool_)  # The last one is for -1.
        wanted[places] = True
        nothing = np.zeros(0, np.int64)
        scores, found = [nothing.astype(np.float32)], [nothing]
        for part in self._parts:
            passing = Passing(bits_of(wanted[part.places]), len(part.places))
            of_part, rows = best_words(part.index, weights, k, passing, nothing)
            scores.append(of_part)
            found.append(part.places[rows])
        every, where = np.concatenate(scores), np.concatenate(found)
        best = np.lexsort((where, -every))[:k]
        return every[best], where[best]


def _read(texts: pa.Array, places: Rows) -> _Part:
    # Here, since a collection without words needs no library for them.
    from pagoda.index.in_process.text_index import text_in_memory

    return _Part(text_in_memory(texts.take(pa.array(places))), places)
