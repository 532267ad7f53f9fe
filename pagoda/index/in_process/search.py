"""Item search for the recall service in collections in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.index.base import FoundItem, Hits
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.filter import Filter


class FolderSearch:
    """`pagoda.index.base.ItemSearch` of one folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self._collections = FolderCollections(folder)

    async def close(self) -> None:
        """Forget what is in memory."""
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
        """See `ItemSearch.search`. In a thread: products of matrices keep the event loop for milliseconds."""

        def compare() -> list[Hits]:
            queries = np.array(vectors, np.float32)
            return self._collections.search(
                collection, queries, k, effort=k, wanted=wanted, excluded=excluded, keys=keys
            )

        try:
            found = await asyncio.to_thread(compare)
        except (IntegrityError, UnavailableError) as error:
            raise UnavailableError(str(error), part="index") from error
        return [_items(hits) for hits in found]


def _items(hits: Hits) -> list[FoundItem]:
    ids: Sequence[int | str] = hits.ids.tolist() if hits.keys is None else hits.keys
    return [{"item_id": id_, "score": score} for id_, score in zip(ids, hits.scores.tolist(), strict=True)]
