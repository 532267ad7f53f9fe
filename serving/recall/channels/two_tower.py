"""The items whose vectors are nearest to the user's: what the two towers recall."""

from __future__ import annotations

from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.ports import Index


class TwoTowerChannel(Channel):
    """Searches the generation's collection by the user's vector."""

    name = "two_tower"

    def __init__(self, index: Index) -> None:
        self._index = index

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """See `Channel.candidates`."""
        one = lookup.instance
        (vector,) = lookup.vectors
        found = await self._index.search(
            live.manifest.collection,
            live.query(one, vector),
            lookup.depth,
            wanted=lookup.wanted,
            excluded=live.seen(one, lookup.stored),
            keys=live.spec.id_type == "string",
        )
        return live.scored(one, found)
