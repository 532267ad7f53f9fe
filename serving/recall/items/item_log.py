"""What the item log says of items, for what answers without an index: who is removed, and what was changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import orjson

from pagoda.errors import PagodaError
from pagoda.item_changes.log import ItemLog
from serving.background import every
from serving.users.keys import Key

_POLL_SECONDS = 1.0
_KEPT = 100_000
"""Changed items whose features are in memory, about 50 MB of them."""
logger = logging.getLogger(__name__)


class ItemLogFollower:
    """Follows the item log. What it holds changes while it is followed; items are called as callers know them."""

    def __init__(self, log: ItemLog, kept: int = _KEPT) -> None:
        self._log, self._head = log, 0
        self.removed: set[Key] = set()
        self.changed: dict[Key, bytes] = {}
        """Features of items that were added or changed, as JSON, but for vectors. Beyond `kept`, those changed longest
        ago are dropped: a full update has most likely exported what they became."""
        self._kept = kept

    async def follow(self) -> None:
        """Follow until cancelled."""
        await every(_POLL_SECONDS, self._look)

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self.read)
        except PagodaError as error:
            logger.warning("item log: %s", error)

    def read(self) -> None:
        """Take in what is new.

        Raises:
            UnavailableError: The log does not answer.
            IntegrityError: A record is damaged.
        """
        for record in self._log.records(self._head):
            for change in record.changes:
                if change.features is None:
                    self.removed.add(change.item_id)
                else:
                    self.removed.discard(change.item_id)
                    self._keep(change.item_id, change.features)
            self._head = record.number

    def _keep(self, item: Key, features: Mapping[str, Any]) -> None:
        self.changed.pop(item, None)  # It goes to the end of the line.
        said = {name: value for name, value in features.items() if not _is_vector(value)}
        self.changed[item] = orjson.dumps(said)
        if len(self.changed) > self._kept:
            del self.changed[next(iter(self.changed))]


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not isinstance(value[0], str)
