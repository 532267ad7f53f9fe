"""The items whose vectors are nearest to the user's: what the two towers recall."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Cascade
from pagoda.item_vectors.vectors_by_id import VectorsById, no_vectors
from serving.http.deadlines import LateError, left
from serving.http.features import read_ids
from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup, Vector
from serving.recall.servers.ports import Index
from serving.users.keys import Key


class TwoTowerChannel(Channel):
    """Searches the generation's collection by the user's vectors, one for each interest.

    Of a cascade, by the first member's; what is found is scored by the second member, and by that alone.
    """

    name = "two_tower"

    def __init__(
        self, index: Index, second: Callable[[str], VectorsById | None] = no_vectors, seconds: float = math.inf
    ) -> None:
        """Nothing is asked yet.

        Args:
            index: Finds items by vector.
            second: Vectors of a cascade's second member, by collection.
            seconds: That these may take.
        """
        self._index, self._second, self._seconds = index, second, seconds

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """See `Channel.candidates`; an item has the score of the nearest interest, or of a cascade's second member."""
        if live.manifest.cascade is not None:
            items = await self._by_both(live, lookup, live.manifest.cascade)
        else:
            found = await self._search(live, lookup, _distinct(lookup.vectors), lookup.depth)
            items = _best(found, lookup.depth)
        return live.scored(lookup.instance, items)

    async def _by_both(self, live: LiveGeneration, lookup: Lookup, cascade: Cascade) -> list[RecalledItem]:
        if (vectors := self._second(live.manifest.collection)) is None:
            raise UnavailableError(f"generation {live.id}: its second member's vectors are not open", part="index")
        first, second = cascade.parts(lookup.vectors[0])
        (found,) = await self._search(live, lookup, [first], max(cascade.candidates, lookup.depth))
        query = live.query(lookup.instance, second)
        # A page that is not in memory is waited for, and nobody else may have to; nor this one for long.
        try:
            async with asyncio.timeout(None if math.isinf(seconds := left(self._seconds)) else seconds):
                return await asyncio.to_thread(_rescored, live.spec, vectors, query, found, lookup.depth)
        except TimeoutError:
            raise LateError(
                f"generation {live.id}: its second member's vectors were not read in time", part="index"
            ) from None

    async def _search(
        self, live: LiveGeneration, lookup: Lookup, vectors: Sequence[Vector], k: int
    ) -> list[list[RecalledItem]]:
        return await self._index.search(
            live.manifest.collection,
            [live.query(lookup.instance, vector) for vector in vectors],
            k,
            wanted=lookup.wanted,
            excluded=live.seen(lookup.instance, lookup.stored),
            keys=live.spec.id_type == "string",
        )


def _distinct(vectors: Sequence[Vector]) -> Sequence[Vector]:
    """Without repetition: an interest that a user lacks is their first once more, and would find the same again."""
    return vectors if len(vectors) == 1 else [list(one) for one in dict.fromkeys(map(tuple, vectors))]


def _best(found: Sequence[list[RecalledItem]], k: int) -> list[RecalledItem]:
    """The best k of what several vectors found, each item once, where it scored best; of equal ones the first found.

    Each found its own best k, so these are the best k of all items by their best score.
    """
    if len(found) == 1:
        return found[0]
    best: dict[Key, RecalledItem] = {}
    for item in sorted((item for items in found for item in items), key=lambda item: -item["score"]):
        best.setdefault(item["item_id"], item)
    return list(islice(best.values(), k))


def _rescored(
    spec: FeatureSpec, vectors: VectorsById, query: Vector, found: Sequence[RecalledItem], k: int
) -> list[RecalledItem]:
    """The best k of what was found by the second member's vectors, with its scores; of equal ones the lower ID first.

    An item that was added a moment ago has none of these yet, and the first member's score is no other's equal.
    """
    ids = read_ids(spec, [item["item_id"] for item in found], "items")
    products, there = vectors.products(np.asarray(query, np.float32), ids)
    scores = np.where(there, products, -np.inf)
    order = np.lexsort((ids, -scores))[: min(k, int(there.sum()))]
    best = zip(order.tolist(), scores[order].tolist(), strict=True)
    return [{"item_id": found[place]["item_id"], "score": score} for place, score in best]
