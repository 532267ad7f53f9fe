"""A recall service over stand-ins."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from pagoda.generations.arms import Arms
from serving.recall.api import RecallInstance
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.generations.follower import Generations
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.parts import Parts
from serving.recall.request.service import Recall
from serving.recall.request.warm_up import warm_up
from serving.recall.servers.breaker_guards import guarded
from serving.recall.servers.ports import Servers
from tests.serving.fakes import FakeIndex, FakeLedger, FakeLog, FakeStore, FakeTower, manifest

CANARY_SECONDS = 5.0


class Setting:
    """A recall service over stand-ins."""

    def __init__(self, spec: Any = None) -> None:
        self.log = FakeLog([manifest(3, spec), manifest(4, spec)], Arms(stable="g3"))
        self.store, self.tower, self.index = FakeStore(), FakeTower({"g3", "g4"}), FakeIndex()
        self.parts = Parts(self.store, self.tower, (TwoTowerChannel(self.index),))
        self.generations = Generations(self.log.as_log(), self.warm)
        self.ledger = FakeLedger()
        self.recall = Recall(self.parts, self.generations, self.ledger, canary_seconds=CANARY_SECONDS)

    async def warm(self, generation: LiveGeneration) -> None:
        await warm_up(generation, self.parts)

    def guarded(self) -> Parts:
        """The same parts, with a breaker before each server."""
        servers = Servers(self.store, self.tower, self.index)
        servers = guarded(servers, store_seconds=5, tower_seconds=5, index_seconds=5)
        channels = (TwoTowerChannel(servers.index), *self.parts.channels[1:])
        return replace(self.parts, store=servers.store, tower=servers.tower, channels=channels)

    async def follow(self) -> None:
        """Take in what the log says, and await what it warms up."""
        await self.generations.refresh()
        while self.generations.warming:
            await asyncio.sleep(0)
        await self.generations.refresh()


def ask(**fields: Any) -> list[RecallInstance]:
    return [RecallInstance.model_validate({"user_id": 5, **fields})]


def begun(live: LiveGeneration, **fields: Any) -> list[Lookup]:
    """A user, as a generation begins to answer them."""
    return [live.begin(one, "instances.0") for one in ask(**fields)]
