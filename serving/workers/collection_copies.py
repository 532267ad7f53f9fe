"""Which collections a recall pod has copies of, where they come from a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pagoda.errors import IntegrityError, PagodaError, UnavailableError
from pagoda.generations.manifest import Manifest

_BACKEND = "in_process"
LOOK_SECONDS = 1.0
"""How often item changes are looked for; recall sees them a quarter of a second later."""


class StoreCopies(Protocol):
    """The calls of `pagoda.index.in_process.stored_collections.StoredCollections` that a follower needs."""

    def bring(self, name: str, vectors: str) -> None:
        """Have a copy, as the store has it now, built from the vectors of a checksum."""

    def follow(self, name: str) -> bool:
        """Bring item changes into a copy; False: the store's was built anew, and is to be brought."""

    def keep(self, names: set[str]) -> None:
        """Remove the copies of all others."""


class CollectionCopies:
    """Copies of the collections that live generations search."""

    def __init__(self, collections: StoreCopies | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing is asked yet; without collections, nothing ever is: they are on this machine, or a server's."""
        self._collections, self._monotonic = collections, monotonic
        self._wanted: set[str] = set()
        self._kept: set[str] | None = None
        """None: what is here has not been looked at since something was brought, or killed."""
        self._next_look = 0.0

    def has(self, manifest: Manifest) -> bool:
        """Whether a copy is here, or none is needed: what is in another backend, nobody here searches."""
        return not self._collections or manifest.backend != _BACKEND or manifest.collection in self._wanted

    def ensure(self, manifest: Manifest) -> None:
        """Have a copy; at once when there is one. May run beside the other calls.

        Raises:
            IntegrityError: It is not in the store, or damaged there, or of other vectors than the generation's.
            UnavailableError: The store does not answer, or the disk is full.
        """
        if self._collections and not self.has(manifest):
            self._collections.bring(manifest.collection, manifest.item_vectors.checksum)
            self._wanted.add(manifest.collection)
            self._kept = None

    def keep(self, names: set[str]) -> None:
        """Remove all others."""
        if self._collections and names != self._kept:
            self._kept = names  # First: what is brought meanwhile is looked at the next time.
            try:
                self._collections.keep(names)
            except BaseException:
                self._kept = None
                raise
        self._wanted &= names

    def follow(self) -> bool:
        """Bring item changes into the copies. It looks every second.

        Returns:
            Whether all are copies of what is in the store now. What was built anew is to be ensured anew.

        Raises:
            IntegrityError: A collection is gone from the store; all others were looked at.
            UnavailableError: The store does not answer, or the disk is full; all others were looked at.
        """
        if not self._collections or self._monotonic() < self._next_look:
            return True
        self._next_look = self._monotonic() + LOOK_SECONDS
        failures: list[PagodaError] = []
        anew: set[str] = set()
        for name in sorted(self._wanted):
            try:
                if not self._collections.follow(name):
                    anew.add(name)
            except (IntegrityError, UnavailableError) as error:
                failures.append(error)
        self._wanted -= anew
        if failures:
            raise failures[0]
        return not anew
