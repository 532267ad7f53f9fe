"""What stands in for a server that does not answer, step by step; every answer says what did, see `steps`.

Users stand in for the store's answer, and vectors for the tower's. Which channel stands in for the index is said where
channels are listed: one that has a step of its own is asked after the others, and only where anything may stand in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from pagoda.data.ids import NOBODY
from serving.recall.fallback.steps import CACHED, MISSING, OOV, REMEMBERED
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup, Vector
from serving.recall.servers.ports import Tower
from serving.users.keys import Key
from serving.users.online_store import StoredUser

_USERS = 10_000
"""Users whom a process remembers, about 50 MB."""


class Fallback:
    """The stand-ins of one process."""

    def __init__(self) -> None:
        self._users: OrderedDict[Key, tuple[str, StoredUser]] = OrderedDict()
        """By user the generation that asked, whose the vector is, and what the store said."""
        self._newcomers: WeakKeyDictionary[LiveGeneration, tuple[Vector, ...]] = WeakKeyDictionary()
        """What a generation makes of a user of whom nothing is known. It goes when the last request of the generation
        is done with it, and not when the arms change, for requests that began before may still need it."""

    def remember(self, lookups: Iterable[Lookup], generation: str) -> None:
        """What the store has said to a generation; who was asked for longest ago is forgotten first."""
        for lookup in lookups:
            user, one = lookup.instance.user_id, lookup.stored
            before = None if lookup.instance.exclude_seen else self._users.get(user)
            kept = replace(one, seen=before[1].seen) if before and before[1].seen else one
            self._users[user] = generation, kept
            self._users.move_to_end(user)
            if len(self._users) > _USERS:
                self._users.popitem(last=False)

    def recall(self, lookups: Iterable[Lookup], generation: str) -> None:
        """Fill in what is known in place of the store; without the vectors that other generations' towers computed."""
        for lookup in lookups:
            if (remembered := self._users.get(lookup.instance.user_id)) is None:
                lookup.degraded.append(MISSING)
                continue
            owner, one = remembered
            lookup.stored = one if owner == generation else replace(one, vectors=None)
            lookup.degraded.append(REMEMBERED)

    def forget(self, users: Collection[str]) -> None:
        """Remember users (their IDs as text) no more."""
        for key in [key for key in self._users if str(key) in users]:
            del self._users[key]

    async def warm(self, live: LiveGeneration, tower: Tower) -> None:
        """Get ready for a generation: ask its tower what it makes of nobody.

        Raises:
            PagodaError: The tower does not answer.
        """
        nobody: dict[str, Any] = {"user_id": NOBODY[live.spec.id_type], "profile": {}, "context": {}, "history": []}
        (newcomer,) = await tower.vectors(live.manifest.full_version, live.id, [nobody])
        self._newcomers[live] = newcomer.vectors

    def stand_in(self, live: LiveGeneration, lookups: Sequence[Lookup]) -> bool:
        """Fill in vectors in place of the tower; False, and none is, where there is nothing for one of the users."""
        newcomer = self._newcomers.get(live)
        if newcomer is None and any(one.stored.vectors is None for one in lookups):
            return False  # The generation was not warm yet.
        for lookup in lookups:
            if (kept := lookup.stored.vectors) is not None:
                lookup.vectors, lookup.known = kept.vectors, True
                lookup.degraded.append(CACHED)
            elif newcomer is not None:
                lookup.vectors, lookup.known = newcomer, False
                lookup.degraded.append(OOV)
        return True
