"""What the item log says of items, for what answers without an index: who is removed, and what was changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from sys import getsizeof
from typing import Any

import orjson

from pagoda.errors import PagodaError
from pagoda.item_changes.log import ItemLog
from pagoda.item_vectors.item_fields import LONGEST
from serving.background import every
from serving.users.keys import Key

_POLL_SECONDS = 1.0
_MOST_BYTES = 64 << 20
"""Of the features of changed items in memory: some 130,000 items of a title and ten features."""
_ENTRY_BYTES = 100
"""What a dict takes for an entry, beside key and value."""
logger = logging.getLogger(__name__)


class ItemLogFollower:
    """Follows the item log. What it holds changes while it is followed; items are called as callers know them."""

    def __init__(self, log: ItemLog, most_bytes: int = _MOST_BYTES) -> None:
        self._log, self._head = log, 0
        self.removed: set[Key] = set()
        self.changed: dict[Key, bytes] = {}
        """Features of items that were added or changed, as JSON, without vectors, and texts no longer than in answers.
        Beyond `most_bytes`, those changed longest ago are dropped: a full update has most likely exported what they
        became."""
        self._bytes, self._most_bytes = 0, most_bytes

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
        self._drop(item)  # It goes to the end of the line.
        said = {name: _short(value) for name, value in features.items() if not is_vector(value)}
        self.changed[item] = orjson.dumps(said)
        self._bytes += _size(item, self.changed[item])
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self.changed)))

    def _drop(self, item: Key) -> None:
        if (said := self.changed.pop(item, None)) is not None:
            self._bytes -= _size(item, said)


def _size(item: Key, said: bytes) -> int:
    return getsizeof(item) + getsizeof(said) + _ENTRY_BYTES


def _short(value: Any) -> Any:
    """As in a generation's file: text that an item change brought may be any length."""
    return value[:LONGEST] if isinstance(value, str) else value


def is_vector(value: Any) -> bool:
    """Whether a feature's value is a list of numbers."""
    return isinstance(value, list) and bool(value) and not isinstance(value[0], str)
