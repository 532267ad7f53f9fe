"""What a process reads of a generation's full version: a file, the same for all of the version's generations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from cachetools import LRUCache

from pagoda.errors import IntegrityError, PagodaError
from pagoda.generations.manifest import Manifest
from serving.recall.generations.generation import LiveGeneration

_VERSIONS = 3
"""The last ones', so that an incremental version reads nothing again, nor does a rollback."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class PerVersion(Generic[T]):
    """Reads it, and holds it as long as one of its generations lives. A generation serves without it, too."""

    def __init__(self, read: Callable[[Manifest], T], without: str) -> None:
        """Nothing is read yet.

        Args:
            read: Reads it, in a thread of its own.
            without: What a generation does that lacks it, for the log: "answers without titles".
        """
        self._read, self._without = read, without
        self._last: LRUCache[int, T] = LRUCache(_VERSIONS)
        self._of: WeakKeyDictionary[LiveGeneration, T] = WeakKeyDictionary()
        """It goes with its generation, once no request is answered by that any more."""
        self._damaged: WeakSet[LiveGeneration] = WeakSet()
        self._told: WeakKeyDictionary[LiveGeneration, str] = WeakKeyDictionary()
        """Why one has none, as the log has it."""

    def get(self, live: LiveGeneration) -> T | None:
        """A generation's; None where it could not be read."""
        return self._of.get(live)

    def held(self) -> list[T]:
        """What live generations have, each once."""
        return list({id(found): found for found in self._of.values()}.values())

    async def warm(self, live: LiveGeneration) -> None:
        """Read a generation's, unless that was done. Where it fails, the log says why; call it again.

        What is damaged is not read again: no generation's files change, and a copy of them may be a gigabyte.
        """
        if live in self._of or live in self._damaged:
            return
        version = live.manifest.full_version
        if (found := self._last.get(version)) is None:
            try:
                found = await asyncio.to_thread(self._read, live.manifest)
            except PagodaError as error:
                self._complain(live, error)
                return
            self._last[version] = found
        self._of[live] = found
        if self._told.pop(live, ""):
            logger.info("%s no longer %s", live.id, self._without)

    def _complain(self, live: LiveGeneration, error: PagodaError) -> None:
        if isinstance(error, IntegrityError):
            self._damaged.add(live)
        if (why := str(error)) != self._told.get(live):
            logger.warning("%s %s: %s", live.id, self._without, why)
        self._told[live] = why
