"""The ports of the servers behind recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pagoda.data.spec import FeatureSpec
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.filter import Filter
from serving.recall.api import RecalledItem
from serving.recall.servers.tower import UserVectors
from serving.users.keys import Key
from serving.users.online_store import StoredUser


class Store(Protocol):
    """Where users' profiles and behaviour are."""

    async def read(self, users: Sequence[tuple[Key, bool]], spec: FeatureSpec, generation: str) -> list[StoredUser]:
        """See `OnlineStore.read`."""


class Tower(Protocol):
    """What makes users' vectors."""

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVectors]:
        """See `TowerClient.vectors`."""


class TowerBackend(Tower, Protocol):
    """The same, as a process has it."""

    async def open(self, manifest: Manifest) -> None:
        """Get ready for a generation that is about to be warmed up; that may take longer than a request.

        Raises:
            PagodaError: It cannot be had here, or not yet.
        """


class Index(Protocol):
    """What finds items."""

    async def search(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        k: int,
        *,
        wanted: Filter,
        excluded: tuple[int, ...],
        keys: bool,
    ) -> list[list[RecalledItem]]:
        """See `pagoda.index.base.ItemSearch`, for the vectors of one user."""

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """See `pagoda.index.base.ItemSearch`."""


class Words(Protocol):
    """What finds items by words."""

    async def __call__(
        self, collection: str, text: str, k: int, *, wanted: Filter, excluded: tuple[int, ...], keys: bool
    ) -> list[RecalledItem]:
        """See `pagoda.index.base.TextSearch`."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers that answer a request."""

    store: Store
    tower: Tower
    index: Index
    match: Words | None = None
    """None: the index has no such search."""
