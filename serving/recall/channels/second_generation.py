"""The channel `second_generation`: what the towers of the generation that was stable before would recall."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

import numpy as np

from pagoda.channels.merging import SECOND
from pagoda.data.ids import NOBODY
from pagoda.errors import PagodaError, UnavailableError
from serving.http.features import read_ids
from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.channels.tables import TableChannels
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.ports import Tower

Open = Callable[[str], Awaitable[LiveGeneration]]
"""Gets the generation of this ID ready to be asked; its errors are those of what it needs."""
logger = logging.getLogger(__name__)


class SecondGenerationChannel(Channel):
    """Asks the tower and the collection of the generation that a manifest names as its second.

    Its tower is told what is known of the user, and not who it is: that generation learns no increments any more, so
    its row of the user would be old, and that of one who is forgotten would never go.
    """

    name = SECOND

    def __init__(self, tower: Tower, nearest: Channel, tables: TableChannels, open_: Open) -> None:
        """Nothing is asked yet.

        Args:
            tower: Makes vectors.
            nearest: Finds what is nearest to these in a generation's collection.
            tables: Know which of a generation's items may stand in an answer.
            open_: See `Open`.
        """
        self._tower, self._nearest, self._tables, self._open = tower, nearest, tables, open_
        self._of: WeakKeyDictionary[LiveGeneration, LiveGeneration] = WeakKeyDictionary()
        self._told: WeakKeyDictionary[LiveGeneration, str] = WeakKeyDictionary()

    async def warm(self, live: LiveGeneration) -> None:
        """See `Channel.warm`. A generation serves without its second."""
        if (id_ := live.manifest.second) is None or live in self._of:
            return
        try:
            self._of[live] = await self._open(id_)
        except PagodaError as error:
            if (why := str(error)) != self._told.get(live):
                logger.warning("%s answers without its channel %s: %s", live.id, SECOND, why)
            self._told[live] = why

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """See `Channel.candidates`: of what the second finds, the items that the generation itself has."""
        if (id_ := live.manifest.second) is None:
            return []  # The first version that declares it has none before it.
        if (second := self._of.get(live)) is None:
            raise UnavailableError(f"generation {live.id}: its second, {id_}, is not open", part=SECOND)
        try:
            asked = _asked(second, lookup)
            told = second.tower_instance(asked.instance, asked.stored)
            (user,) = await self._tower.vectors(second.manifest.full_version, second.id, [told])
            asked.vectors = user.vectors
            return self._own(live, lookup, await self._nearest.candidates(second, asked))
        except PagodaError as error:  # Whatever the second refuses or lacks, the generation that answers does not.
            raise UnavailableError(f"generation {live.id}: its second: {error}", part=SECOND) from error

    def _own(self, live: LiveGeneration, lookup: Lookup, found: list[RecalledItem]) -> list[RecalledItem]:
        if (allowed := self._tables.allowed(live, lookup)) is None:
            raise UnavailableError(f"generation {live.id}: its items are not open", part=SECOND)
        kept = allowed(read_ids(live.spec, [item["item_id"] for item in found], "items"))
        return [found[place] for place in np.flatnonzero(kept).tolist()]


def _asked(second: LiveGeneration, lookup: Lookup) -> Lookup:
    """The lookup as the second begins it: by its own features and filter, for somebody whom it has no row of."""
    one = lookup.instance
    nobody = one.model_copy(update={"user_id": NOBODY[second.spec.id_type], "text": None, "fields": ()})
    known = second.told(nobody)
    return Lookup(known, second.wanted(known.filter, ()), lookup.depth, stored=lookup.stored)
