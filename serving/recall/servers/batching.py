"""The servers behind recall, asked for several requests at once where requests come faster than answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, RequestError
from pagoda.index.base import ItemSearch
from pagoda.item_vectors.filter import Filter
from serving.recall.api import RecalledItem
from serving.recall.servers.coalescing import Coalescer
from serving.recall.servers.ports import Store, Tower
from serving.recall.servers.tower import UserVectors
from serving.users.keys import Key
from serving.users.online_store import StoredUser

_AT_ONCE = 2
"""Calls under way to one server, of one kind: one is computed while the next one comes in."""
_USERS, _INSTANCES, _VECTORS = 64, 32, 16
"""The most of one call. A longer one keeps its first user waiting for its last."""
_Users = Sequence[tuple[Key, bool]]
_Instances = Sequence[dict[str, Any]]
_Vectors = Sequence[Sequence[float]]


class JoinedStore:
    """The online store; users of several requests in one round trip."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._joined: Coalescer[tuple[int, str], tuple[_Users, FeatureSpec], list[StoredUser] | IntegrityError] = (
            Coalescer(self._send, at_once=_AT_ONCE, most=_USERS, size=lambda ask: len(ask[0]))
        )

    async def read(self, users: _Users, spec: FeatureSpec, generation: str = "") -> list[StoredUser]:
        """See `OnlineStore.read`."""
        # The declaration itself is the key; its content would take long to hash.
        found = await self._joined.ask((id(spec), generation), (users, spec))
        if isinstance(found, IntegrityError):
            raise found
        return found

    async def _send(
        self, key: tuple[int, str], asks: Sequence[tuple[_Users, FeatureSpec]]
    ) -> list[list[StoredUser] | IntegrityError]:
        try:
            found = iter(await self._store.read([user for users, _ in asks for user in users], asks[0][1], key[1]))
            return [[next(found) for _ in users] for users, _ in asks]
        except IntegrityError as error:
            if len(asks) == 1:
                return [error]
        # What is held of one of them is damaged; that is nobody else's trouble.
        alone = await asyncio.gather(*(self._send(key, [ask]) for ask in asks))
        return [found for (found,) in alone]


class JoinedTower:
    """The user tower; instances of several requests in one batch."""

    def __init__(self, tower: Tower) -> None:
        self._tower = tower
        self._joined: Coalescer[tuple[int, str], _Instances, list[UserVectors] | RequestError] = Coalescer(
            self._send, at_once=_AT_ONCE, most=_INSTANCES, size=len
        )

    async def vectors(self, full_version: int, generation: str, instances: _Instances) -> list[UserVectors]:
        """See `TowerClient.vectors`."""
        found = await self._joined.ask((full_version, generation), instances)
        if isinstance(found, RequestError):
            raise found
        return found

    async def _send(self, key: tuple[int, str], asks: Sequence[_Instances]) -> list[list[UserVectors] | RequestError]:
        try:
            found = iter(await self._tower.vectors(*key, [one for instances in asks for one in instances]))
            return [[next(found) for _ in instances] for instances in asks]
        except RequestError as error:
            if len(asks) == 1:
                return [error]
        # One of them is wrong; it must not spoil the others' answers.
        alone = await asyncio.gather(*(self._send(key, [instances]) for instances in asks))
        return [found for (found,) in alone]


class _Kind(NamedTuple):
    """What searches must have in common to be one."""

    collection: str
    k: int
    wanted: Filter
    excluded: tuple[int, ...]
    keys: bool


class JoinedIndex:
    """Item search; several users in one search, where they want the same of the items."""

    def __init__(self, index: ItemSearch) -> None:
        self._index = index
        self._joined: Coalescer[_Kind, _Vectors, list[list[RecalledItem]]] = Coalescer(
            self._send, at_once=_AT_ONCE, most=_VECTORS, size=len
        )

    async def search(
        self, collection: str, vectors: _Vectors, k: int, *, wanted: Filter, excluded: tuple[int, ...], keys: bool
    ) -> list[list[RecalledItem]]:
        """See `Index.search`."""
        return await self._joined.ask(_Kind(collection, k, wanted, excluded, keys), vectors)

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """See `Index.vectors`; each request asks for its own."""
        return await self._index.vectors(collection, ids)

    async def _send(self, kind: _Kind, asks: Sequence[_Vectors]) -> list[list[list[RecalledItem]]]:
        every = [vector for vectors in asks for vector in vectors]
        found = await self._index.search(
            kind.collection, every, kind.k, wanted=kind.wanted, excluded=kind.excluded, keys=kind.keys
        )
        # Nothing is said of them yet; a copy would cost each search.
        left = iter(cast("list[list[RecalledItem]]", found))
        return [[next(left) for _ in vectors] for vectors in asks]
