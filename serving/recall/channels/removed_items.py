"""Which items the item log says are removed, for what answers without an index that they are gone from."""

from __future__ import annotations

import asyncio
import logging

from pagoda.errors import PagodaError
from pagoda.item_changes.log import ItemLog
from serving.background import every
from serving.users.keys import Key

_POLL_SECONDS = 1.0
logger = logging.getLogger(__name__)


class Removed:
    """Follows the item log."""

    def __init__(self, log: ItemLog) -> None:
        self._log, self._head = log, 0
        self.items: set[Key] = set()
        """As callers know them; changes while it is followed."""

    async def follow(self) -> None:
        """Follow until cancelled."""
        await every(_POLL_SECONDS, self._look)

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self.read)
        except PagodaError as error:
            logger.warning("removed items: %s", error)

    def read(self) -> None:
        """Take in what is new.

        Raises:
            UnavailableError: The log does not answer.
            IntegrityError: A record is damaged.
        """
        for record in self._log.records(self._head):
            for change in record.changes:
                (self.items.add if change.features is None else self.items.discard)(change.item_id)
            self._head = record.number
