"""The items of a collection as they were when it was built."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from cachetools import LRUCache, cachedmethod
from numpy.typing import NDArray

from pagoda.errors import IntegrityError
from pagoda.index.in_process.index_folder import open_folder, open_text
from pagoda.index.in_process.passing import Bits, Rows, bits_of
from pagoda.item_vectors.fields import ITEM_ID
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.matching import matching

if TYPE_CHECKING:
    from pagoda.index.in_process.text_index import TextIndex

REMEMBERED_BYTES = 32 << 20
"""Of what passes which filter: an eighth of a byte an item and filter, where few pass more."""


def rows_in(known: NDArray[np.int64], ids: NDArray[np.int64] | Sequence[int]) -> Rows:
    """The places in `known`, int64 [n] ascending, of those of some IDs that are there."""
    wanted = np.asarray(ids, np.int64)
    if not (len(wanted) and len(known)):
        return wanted[:0]
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    rows: Rows = places[known[places] == wanted]
    return rows


class IndexedItems:
    """Items by ascending ID, in files that are mapped; each has a row, the first one 0."""

    def __init__(self, folder: Path) -> None:
        """Open what `write_index` wrote.

        Raises:
            IntegrityError: It is damaged.
        """
        self._folder = folder
        self.columns, self.index = open_folder(folder)
        """All columns but the vectors' and the words', and the index of the vectors."""
        self.ids: NDArray[np.int64] = self.columns[ITEM_ID].to_numpy()
        """[n]"""
        self._remembered: LRUCache[Filter, Bits] = LRUCache(REMEMBERED_BYTES, operator.attrgetter("nbytes"))
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many."""
        return len(self.ids)

    @property
    def text(self) -> TextIndex | None:
        """The index of their words; None: they were built without them.

        Raises:
            IntegrityError: It is damaged; vectors are searched all the same.
        """
        if isinstance(found := self._text, IntegrityError):
            raise found
        return found

    @cached_property
    def _text(self) -> TextIndex | IntegrityError | None:
        try:
            return open_text(self._folder)
        except IntegrityError as error:
            return error  # Not read again for each request.

    def rows_of(self, ids: NDArray[np.int64] | Sequence[int]) -> Rows:
        """The rows of those of some items that there are."""
        return rows_in(self.ids, ids)

    @cachedmethod(operator.attrgetter("_remembered"), lock=operator.attrgetter("_lock"))
    def passing(self, wanted: Filter) -> Bits:
        """Which rows pass a filter."""
        parts = [matching(pa.table(batch), wanted) for batch in self.columns.to_batches()]
        return bits_of(np.concatenate([np.zeros(0, np.bool_), *parts]))
