"""Item search for the recall service in collections in a folder."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.index.base import MOST_FOUND, FilterCount, FoundItem, Hits, TextSearch
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.vectors_by_id import VectorsById, no_vectors
from pagoda.settings import CollectionConfig

_LOOK_SECONDS = 0.25
"""How long searches go on in what was there before they look for item changes."""
_QUICK_SECONDS = 0.001
"""What one vector may take to be searched at once, where it is asked: others wait so long, and what it saves is the way
to a thread and back, 0.1 ms of an answer."""
_WAITS = 20
"""How many times its processor time a search may take by the clock."""
_REMEMBERED = 10_000
"""Kinds of search whose time is remembered; some filter by what nobody else asks for."""


_Vectors = Sequence[Sequence[float]]
_Part = tuple[list[list[FoundItem]], float]
"""What is found of some vectors, and the seconds that each of them took."""


class _Kind(NamedTuple):
    """What decides how long a search takes."""

    collection: str
    k: int
    wanted: Filter
    excluding: bool
    keys: bool


class FolderSearch:
    """`pagoda.index.base.ItemSearch` of one folder."""

    def __init__(
        self,
        folder: Path,
        effort: int = CollectionConfig().effort,
        refine: int = 1,
        originals: Callable[[str], VectorsById | None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            folder: Of the collections.
            effort: See `CollectionConfig`.
            refine: See `CollectionConfig`.
            originals: Those of a collection that holds fewer numbers; None: all hold the vectors themselves.
        """
        self._collections = FolderCollections(folder, _LOOK_SECONDS, 1 if originals else refine)
        self._effort, self._refine, self._originals = effort, refine, originals or no_vectors
        # Faiss and NumPy let others run while they compute. A search has one thread: who asks is more than one.
        self._cores = len(os.sched_getaffinity(0))
        self._threads = ThreadPoolExecutor(self._cores, "search", initializer=faiss.omp_set_num_threads, initargs=(1,))
        faiss.omp_set_num_threads(1)  # Here, too.
        # Words take longer, some of them much: whoever asks for none is not to wait behind them for a thread.
        self._word_threads = ThreadPoolExecutor(self._cores, "words")
        self._took: dict[_Kind, float] = {}
        """Seconds a vector took the last time."""
        self.match: TextSearch | None = self._match
        self.count: FilterCount | None = self._count

    async def close(self) -> None:
        """Forget what is in memory."""
        for threads in (self._threads, self._word_threads):
            threads.shutdown(wait=False)
        self._collections.close()

    async def search(
        self,
        collection: str,
        vectors: _Vectors,
        k: int,
        *,
        wanted: Filter,
        excluded: Sequence[int],
        keys: bool,
    ) -> list[list[FoundItem]]:
        """See `ItemSearch.search`.

        One vector is searched at once, if that is quick: an idle service has nobody else to answer meanwhile. Several
        are shared among as many threads as there are cores.
        """
        kind, search = _Kind(collection, k, wanted, bool(excluded), keys), partial(self._search, excluded=excluded)
        try:
            if len(vectors) == 1 and self._quick(kind):
                parts = [search(kind, vectors)]
            else:
                parts = await self._in_threads(partial(search, kind), vectors)
        except (IntegrityError, UnavailableError) as error:
            raise UnavailableError(str(error), part="index") from error
        self._note(kind, max(seconds for _, seconds in parts))
        return [items for part, _ in parts for items in part]

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """See `ItemSearch.vectors`. In a thread: a page that is not in memory is waited for."""
        originals = self._originals(collection)
        read = partial(self._collections.vectors, collection) if originals is None else originals.of
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, read, ids)
        except (IntegrityError, UnavailableError) as error:
            raise UnavailableError(str(error), part="index") from error

    async def _count(self, collection: str, wanted: Filter) -> tuple[int, int]:
        """See `FilterCount`. In a thread: a filter that nobody has searched by yet takes milliseconds."""
        count = partial(self._collections.kept, collection, wanted)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, count)
        except (IntegrityError, UnavailableError) as error:
            raise UnavailableError(str(error), part="index") from error

    async def _match(
        self, collection: str, text: str, k: int, *, wanted: Filter, excluded: Sequence[int], keys: bool
    ) -> list[FoundItem]:
        """See `TextSearch`. In a thread: it would keep the event loop for milliseconds."""
        match = partial(self._collections.match, collection, text, k, wanted=wanted, excluded=excluded, keys=keys)
        try:
            return _items(await asyncio.get_running_loop().run_in_executor(self._word_threads, match))
        except (IntegrityError, UnavailableError) as error:
            raise UnavailableError(str(error), part="text") from error

    async def _in_threads(self, search: Callable[[_Vectors], _Part], vectors: _Vectors) -> list[_Part]:
        loop, size = asyncio.get_running_loop(), math.ceil(len(vectors) / self._cores)
        shares = [vectors[start : start + size] for start in range(0, len(vectors), size)]
        return await asyncio.gather(*(loop.run_in_executor(self._threads, search, share) for share in shares))

    def _note(self, kind: _Kind, seconds: float) -> None:
        if len(self._took) >= _REMEMBERED:  # To know the oldest would cost each search; to time one anew, that one.
            self._took.clear()
        self._took[kind] = seconds

    def _quick(self, kind: _Kind) -> bool:
        return self._took.get(kind, math.inf) < _QUICK_SECONDS and self._collections.known(kind.collection)

    def _search(self, kind: _Kind, vectors: _Vectors, *, excluded: Sequence[int]) -> _Part:
        """What is found, and the seconds that a vector took."""
        start, began = time.thread_time(), time.perf_counter()
        items = [_items(hits) for hits in self._found(kind, np.array(vectors, np.float32), excluded)]
        # By the processor, since others' work is no reason to wait in a thread; a disk that is waited for is one.
        took = max(time.thread_time() - start, (time.perf_counter() - began) / _WAITS)
        return items, took / len(vectors)

    def _found(self, kind: _Kind, queries: NDArray[np.float32], excluded: Sequence[int]) -> list[Hits]:
        search = partial(
            self._collections.search,
            kind.collection,
            effort=self._effort,
            wanted=kind.wanted,
            excluded=excluded,
            keys=kind.keys,
        )
        if (originals := self._originals(kind.collection)) is None:
            return search(vectors=queries, k=kind.k)
        found = search(vectors=originals.asked(queries), k=min(MOST_FOUND, self._refine * kind.k))
        return [_best(*one, kind.k, originals) for one in zip(queries, found, strict=True)]


def _best(query: NDArray[np.float32], hits: Hits, k: int, originals: VectorsById) -> Hits:
    places, scores = originals.best(query, hits.ids, hits.scores, k)
    keys = None if hits.keys is None else [hits.keys[place] for place in places]
    return Hits(hits.ids[places], scores, keys)


def _items(hits: Hits) -> list[FoundItem]:
    ids: Sequence[int | str] = hits.ids.tolist() if hits.keys is None else hits.keys
    return [{"item_id": id_, "score": score} for id_, score in zip(ids, hits.scores.tolist(), strict=True)]
