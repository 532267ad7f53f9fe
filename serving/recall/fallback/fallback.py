"""What stands in for a server that does not answer, step by step; every answer says what did.

store_remembered  the user as this process last read them
store_missing     the user's ID alone: neither profile nor behaviour
tower_cached      the vector that the generation's tower computed last, some minutes ago at most
tower_oov         the vector of a user of whom nothing is known
index_popular     the generation's most popular items that satisfy the filter
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace

from serving.recall.generations.generation import LiveGeneration
from serving.recall.servers.tower import UserVector
from serving.users.keys import Key
from serving.users.online_store import StoredUser

REMEMBERED, MISSING = "store_remembered", "store_missing"
CACHED, OOV = "tower_cached", "tower_oov"
POPULAR = "index_popular"
OF_THE_STORE = frozenset({REMEMBERED, MISSING})
NOT_OF_THE_TOWERS = frozenset({OOV, POPULAR})
"""Steps that make an answer a fallback to the gates of a rollout."""
_USERS = 10_000
"""Users whom a process remembers, about 50 MB."""


class Fallback:
    """The stand-ins of one process."""

    def __init__(self) -> None:
        self._users: OrderedDict[Key, tuple[str, StoredUser]] = OrderedDict()
        """By user the generation that asked, whose the vector is, and what the store said."""

    def remember(self, users: Sequence[tuple[Key, bool]], stored: Sequence[StoredUser], generation: str) -> None:
        """What the store has said to a generation; who was asked for longest ago is forgotten first."""
        for (user, with_seen), one in zip(users, stored, strict=True):
            before = self._users.pop(user, None)
            kept = one if with_seen or before is None else replace(one, seen=before[1].seen)
            self._users[user] = generation, kept
        while len(self._users) > _USERS:
            self._users.popitem(last=False)

    def recall(self, users: Sequence[tuple[Key, bool]], generation: str) -> list[StoredUser]:
        """In place of the store; without the vectors that other generations' towers computed."""
        return [self._remembered(user, generation) for user, _ in users]

    def forget(self, users: Collection[str]) -> None:
        """Remember users (their IDs as text) no more."""
        if users:
            self._users = OrderedDict((key, one) for key, one in self._users.items() if str(key) not in users)

    def _remembered(self, user: Key, generation: str) -> StoredUser:
        if user not in self._users:
            return StoredUser({}, (), (), degraded=(MISSING,))
        owner, one = self._users[user]
        return replace(one, vector=one.vector if owner == generation else None, degraded=(REMEMBERED,))

    @staticmethod
    def vectors(live: LiveGeneration, stored: Sequence[StoredUser]) -> list[UserVector] | None:
        """In place of the tower; None where there is nothing for one of the users."""
        found = []
        for one in stored:
            if one.vector is not None:
                found.append(UserVector(one.vector.vector, True, (CACHED,)))
            elif live.newcomer is not None:
                found.append(UserVector(live.newcomer, False, (OOV,)))
            else:
                return None
        return found
