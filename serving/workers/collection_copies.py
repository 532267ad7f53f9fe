"""Which collections a recall pod has copies of, where they come from a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pagoda.errors import IntegrityError, PagodaError

LOOK_SECONDS = 1.0
"""How often item changes are looked for; recall sees them a quarter of a second later."""


class StoreCopies(Protocol):
    """The calls of `pagoda.index.in_process.stored_collections.StoredCollections` that a follower needs."""

    def bring(self, name: str) -> None:
        """Have a copy, as the store has it now."""

    def keep(self, names: set[str]) -> None:
        """Remove the copies of all others."""


class CollectionCopies:
    """Copies of the collections that live generations search."""

    def __init__(self, collections: StoreCopies | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing is asked yet; without collections, nothing ever is: they are on this machine, or a server's."""
        self._collections, self._monotonic = collections, monotonic
        self._wanted: set[str] = set()
        self._kept: set[str] | None = None
        """None: what a killed follower had here has not been looked at yet."""
        self._next_look = 0.0

    def ensure(self, name: str) -> None:
        """Have a copy; at once when there is one.

        Raises:
            IntegrityError: It is not in the store, or damaged there.
            UnavailableError: The store does not answer, or the disk is full.
        """
        if self._collections and name not in self._wanted:
            self._collections.bring(name)
            self._wanted.add(name)

    def keep(self, names: set[str]) -> None:
        """Remove all others."""
        if self._collections and names != self._kept:
            self._collections.keep(names)
            self._kept = names
        self._wanted &= names

    def follow(self) -> None:
        """Bring item changes into the copies. It looks every second.

        Raises:
            IntegrityError: A collection is gone from the store; all others were looked at.
            UnavailableError: The store does not answer.
        """
        if not self._collections or self._monotonic() < self._next_look:
            return
        self._next_look = self._monotonic() + LOOK_SECONDS
        failures: list[PagodaError] = []
        for name in self._wanted:
            try:
                self._collections.bring(name)
            except IntegrityError as error:
                failures.append(error)
        if failures:
            raise failures[0]
