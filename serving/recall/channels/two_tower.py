"""The items whose vectors are nearest to the user's: what the two towers recall."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup, Vector
from serving.recall.servers.ports import Index
from serving.users.keys import Key


class TwoTowerChannel(Channel):
    """Searches the generation's collection by the user's vectors, one for each interest."""

    name = "two_tower"

    def __init__(self, index: Index) -> None:
        self._index = index

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """See `Channel.candidates`; an item has the score of the nearest interest."""
        one = lookup.instance
        found = await self._index.search(
            live.manifest.collection,
            [live.query(one, vector) for vector in _distinct(lookup.vectors)],
            lookup.depth,
            wanted=lookup.wanted,
            excluded=live.seen(one, lookup.stored),
            keys=live.spec.id_type == "string",
        )
        return live.scored(one, _best(found, lookup.depth))


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
