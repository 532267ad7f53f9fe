"""The servers behind recall, each with a breaker before it and so long to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pagoda.data.spec import FeatureSpec
from serving.recall.api import RecalledItem
from serving.recall.servers.breaker import Breakers
from serving.recall.servers.ports import Index, Servers, Store, Tower, Words
from serving.recall.servers.tower import UserVectors
from serving.tracing import span
from serving.users.keys import Key
from serving.users.online_store import StoredUser


class GuardedStore:
    """The online store."""

    def __init__(self, store: Store, breakers: Breakers, seconds: float) -> None:
        self._store, self._breakers, self._seconds = store, breakers, seconds

    async def read(self, users: Sequence[tuple[Key, bool]], spec: FeatureSpec, generation: str) -> list[StoredUser]:
        """See `OnlineStore.read`."""
        with span("store"):
            return await self._breakers.of("store").call(
                lambda: self._store.read(users, spec, generation), self._seconds
            )


class GuardedTower:
    """The user tower, version by version."""

    def __init__(self, tower: Tower, breakers: Breakers, seconds: float) -> None:
        self._tower, self._breakers, self._seconds = tower, breakers, seconds

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVectors]:
        """See `TowerClient.vectors`."""
        with span("tower", generation=generation):
            return await self._breakers.of(f"tower {full_version}").call(
                lambda: self._tower.vectors(full_version, generation, instances), self._seconds
            )


class GuardedIndex:
    """Item search, collection by collection."""

    def __init__(self, index: Index, breakers: Breakers, seconds: float) -> None:
        self._index, self._breakers, self._seconds = index, breakers, seconds

    async def search(
        self, collection: str, vectors: Sequence[Sequence[float]], k: int, **wanted: Any
    ) -> list[list[RecalledItem]]:
        """See `Index.search`."""
        with span("index", collection=collection):
            return await self._breakers.of(f"index {collection}").call(
                lambda: self._index.search(collection, vectors, k, **wanted), self._seconds
            )

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """See `Index.vectors`."""
        with span("index", collection=collection):
            return await self._breakers.of(f"index {collection}").call(
                lambda: self._index.vectors(collection, ids), self._seconds
            )


class GuardedText:
    """Search for words, collection by collection.

    How long it takes is as the words are, which a caller chooses; so theirs alone are missing where it takes too long.
    """

    def __init__(self, match: Words, breakers: Breakers, seconds: float) -> None:
        self._match, self._breakers, self._seconds = match, breakers, seconds

    async def __call__(self, collection: str, text: str, k: int, **wanted: Any) -> list[RecalledItem]:
        """See `Words`."""
        with span("text", collection=collection):
            return await self._breakers.of(f"text {collection}").call(
                lambda: self._match(collection, text, k, **wanted), self._seconds, slow_is_down=False
            )


def guarded(servers: Servers, *, store_seconds: float, tower_seconds: float, index_seconds: float) -> Servers:
    """The same servers, guarded."""
    breakers = Breakers()
    return Servers(
        GuardedStore(servers.store, breakers, store_seconds),
        GuardedTower(servers.tower, breakers, tower_seconds),
        GuardedIndex(servers.index, breakers, index_seconds),
        servers.match and GuardedText(servers.match, breakers, index_seconds),
    )
