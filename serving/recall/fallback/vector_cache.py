"""Vectors that towers computed, kept in the online store for some minutes: for when a tower is down, and to be spared.

A kept vector is good for exactly what it was made of. So an interaction outdates it by itself, in the round trip that
reads both, and one that is written late does no harm.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence

from pagoda.errors import UnavailableError
from serving.background import every
from serving.recall.api import RecallInstance
from serving.recall.lookup import Lookup, Vector
from serving.users.keys import Key
from serving.users.online_store import KeptVectors, OnlineStore

FLUSH_SECONDS = 0.25
_MOST_PENDING = 20_000
logger = logging.getLogger(__name__)


class VectorCache:
    """Writes vectors in the background, and says which need not be computed again."""

    def __init__(self, store: OnlineStore, *, seconds: int, reuse: bool) -> None:
        """Nothing is written yet.

        Args:
            store: Where to.
            seconds: How long a vector is kept.
            reuse: Whether a kept one answers in place of the tower while what it was made of is unchanged.
        """
        self._store, self._seconds, self._reuse = store, seconds, reuse
        self._pending: defaultdict[str, dict[Key, KeptVectors]] = defaultdict(dict)

    def fresh(self, lookup: Lookup) -> tuple[Vector, ...] | None:
        """Vectors that the tower need not compute."""
        kept = lookup.stored.vectors
        if self._reuse and kept is not None and kept.basis == lookup.stored.basis and _plain(lookup.instance):
            return kept.vectors
        return None

    def keep(self, generation: str, lookups: Sequence[Lookup]) -> None:
        """Take what a tower has computed. Never waits."""
        if sum(map(len, self._pending.values())) > _MOST_PENDING:
            return
        for lookup in lookups:
            one, stored = lookup.instance, lookup.stored
            outdated = stored.vectors is None or stored.vectors.basis != stored.basis
            # What stood in for the store is no basis: it may not be what the store holds.
            if outdated and lookup.known and _plain(one) and not lookup.degraded:
                self._pending[generation][one.user_id] = KeptVectors(stored.basis, lookup.vectors)

    async def follow(self) -> None:
        """Write what was taken, until cancelled."""
        await every(FLUSH_SECONDS, self.flush)

    async def flush(self) -> None:
        """Write what was taken. What Redis does not take is dropped: it is computed again."""
        pending, self._pending = self._pending, defaultdict(dict)
        for generation, vectors in pending.items():
            try:
                await self._store.keep(generation, list(vectors.items()), self._seconds)
            except UnavailableError as error:
                logger.debug("vectors are not kept: %s", error)


def _plain(one: RecallInstance) -> bool:
    """Whether the vector follows from the store alone."""
    return one.timestamp is None and one.history is None and not one.profile and not one.context
