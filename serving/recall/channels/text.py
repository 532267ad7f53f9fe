"""The items whose words are nearest to what a request says: asked beside the others, where it says anything."""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

from pagoda.errors import UnavailableError
from pagoda.item_vectors.filter import EVERYTHING, Filter
from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.ports import Words

_WARM_UP = "warm-up"
logger = logging.getLogger(__name__)


class TextChannel(Channel):
    """Searches the words in the generation's collection."""

    name = "text"

    def __init__(self, match: Words) -> None:
        """Nothing is asked yet."""
        self._match = match
        self._told: WeakKeyDictionary[LiveGeneration, str] = WeakKeyDictionary()
        """Why each generation's words cannot be searched; empty: they can be."""

    async def warm(self, live: LiveGeneration) -> None:
        """See `Channel.warm`: open the words of a generation that has any. Without them its vectors answer alone."""
        if not live.manifest.texts or self._told.get(live) == "":
            return
        try:
            await self._search(live, _WARM_UP, 1)
            why = ""
        except UnavailableError as error:
            why = str(error)
        if why != self._told.get(live, ""):
            logger.warning("%s answers without text: %s", live.id, why or "no longer")
        self._told[live] = why

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """See `Channel.candidates`; fewer where fewer items have one of the words."""
        one = lookup.instance
        seen = live.seen(one, lookup.stored)
        return await self._search(live, one.text or "", lookup.depth, wanted=lookup.wanted, excluded=seen)

    async def _search(
        self, live: LiveGeneration, text: str, k: int, wanted: Filter = EVERYTHING, excluded: tuple[int, ...] = ()
    ) -> list[RecalledItem]:
        keys = live.spec.id_type == "string"
        return await self._match(live.manifest.collection, text, k, wanted=wanted, excluded=excluded, keys=keys)
