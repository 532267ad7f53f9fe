"""Item search for the recall service in collections in a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.index.base import MOST_FOUND, FoundItem, Hits, TextSearch
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.originals import Originals, no_originals
from pagoda.settings import CollectionConfig

T = TypeVar("T")
_LOOK_SECONDS = 0.25
"""How long searches go on in what was there before they look for item changes."""


class FolderSearch:
    """`pagoda.index.base.ItemSearch` of one folder."""

    def __init__(
        self,
        folder: Path,
        effort: int = CollectionConfig().effort,
        refine: int = 1,
        originals: Callable[[str], Originals | None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            folder: Of the collections.
            effort: See `CollectionConfig`.
            refine: See `CollectionConfig`.
            originals: Those of a collection that holds fewer numbers; None: all hold the vectors themselves.
        """
        self._collections = FolderCollections(folder, _LOOK_SECONDS, 1 if originals else refine)
        self._effort, self._refine, self._originals = effort, refine, originals or no_originals
        # Faiss and NumPy let others run while they compute. A search has one thread: who asks is more than one.
        cores = len(os.sched_getaffinity(0))
        self.match: TextSearch | None = self._match
        self._threads = ThreadPoolExecutor(cores, "search", initializer=faiss.omp_set_num_threads, initargs=(1,))

    async def close(self) -> None:
        """Forget what is in memory."""
        self._threads.shutdown(wait=False)
        self._collections.close()

    async def search(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        k: int,
        *,
        wanted: Filter,
        excluded: Sequence[int],
        keys: bool,
    ) -> list[list[FoundItem]]:
        """See `ItemSearch.search`. In a thread: a search would keep the event loop for a millisecond."""
        search = partial(
            self._search, collection, vectors, k, effort=self._effort, wanted=wanted, excluded=excluded, keys=keys
        )
        return await self._computed(search, "index")

    async def _match(
        self, collection: str, text: str, k: int, *, wanted: Filter, excluded: Sequence[int], keys: bool
    ) -> list[FoundItem]:
        """See `TextSearch`."""
        match = partial(self._collections.match, collection, text, k, wanted=wanted, excluded=excluded, keys=keys)
        return _items(await self._computed(match, "text"))

    async def _computed(self, search: Callable[[], T], part: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, search)
        except (IntegrityError, UnavailableError) as error:
            raise UnavailableError(str(error), part=part) from error

    def _search(
        self, collection: str, vectors: Sequence[Sequence[float]], k: int, **asked: Any
    ) -> list[list[FoundItem]]:
        queries = np.array(vectors, np.float32)
        if (originals := self._originals(collection)) is None:
            return [_items(hits) for hits in self._collections.search(collection, queries, k, **asked)]
        held = min(MOST_FOUND, self._refine * k)
        found = self._collections.search(collection, originals.asked(queries), held, **asked)
        return [_items(_best(*one, k, originals)) for one in zip(queries, found, strict=True)]


def _best(query: NDArray[np.float32], hits: Hits, k: int, originals: Originals) -> Hits:
    places, scores = originals.best(query, hits.ids, hits.scores, k)
    keys = None if hits.keys is None else [hits.keys[place] for place in places]
    return Hits(hits.ids[places], scores, keys)


def _items(hits: Hits) -> list[FoundItem]:
    ids: Sequence[int | str] = hits.ids.tolist() if hits.keys is None else hits.keys
    return [{"item_id": id_, "score": score} for id_, score in zip(ids, hits.scores.tolist(), strict=True)]
