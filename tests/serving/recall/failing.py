"""A recall service whose servers can be switched off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pagoda.errors import UnavailableError
from serving.recall.api import Prediction, RecalledItem
from serving.recall.channels.popular import PopularChannel, PopularItems
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.fallback.fallback import Fallback
from serving.recall.generations.per_version import PerVersion
from serving.recall.request.service import Recall
from serving.users.keys import Key
from serving.users.online_store import StoredUser
from tests.serving.fakes import FakeIndex, FakeStore
from tests.serving.recall.setting import Setting, ask

ITEMS = pa.table(
    {
        "item_id": [7, 3, 9, 1],
        "clicks": [40, 20, 10, 0],
        "genres": [["Drama"], ["Comedy", "Drama"], ["Comedy"], []],
        "year": [1990.0, 2005.0, -1.7976931348623157e308, 1970.0],
    }
)

GONE = UnavailableError("gone")


class Down:
    """A switch in front of a server."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class Store(FakeStore, Down):
    def __init__(self) -> None:
        FakeStore.__init__(self)
        Down.__init__(self)

    async def read(self, users: Sequence[tuple[Key, bool]], *_: Any) -> list[StoredUser]:
        self.check()
        return await super().read(users)


class Index(FakeIndex, Down):
    def __init__(self) -> None:
        FakeIndex.__init__(self)
        Down.__init__(self)

    async def search(self, *given: Any, **wanted: Any) -> list[list[RecalledItem]]:
        self.check()
        return await super().search(*given, **wanted)


class Listed(PopularChannel):
    """Has the list from nowhere."""

    def __init__(self) -> None:
        self._lists = PerVersion(lambda manifest: PopularItems(manifest.spec, ITEMS), "")


class Failing(Setting):
    """A service with a fallback whose servers can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.index = Store(), Index()
        channels = (TwoTowerChannel(self.index), Listed())
        self.parts = replace(self.parts, store=self.store, channels=channels, fallback=Fallback())
        self.recall = Recall(self.parts, self.generations, self.ledger, canary_seconds=5.0)
        self.down = Down()
        self.tower.before = self.down.check

    async def one(self, **fields: Any) -> Prediction:
        (prediction,) = await self.recall.answer(ask(**fields))
        return prediction
