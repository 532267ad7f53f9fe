"""Another generation's candidates: what its tower is told, and which of them may stand in an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.config.training import parse_config
from pagoda.data.ids import NOBODY
from pagoda.data.spec import Categorical
from pagoda.errors import NotHeldError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.index.in_process.search import FolderSearch
from serving.http.fields import PastItems
from serving.recall.api import RecalledItem
from serving.recall.channels.merge import merge
from serving.recall.channels.second_generation import SecondGenerationChannel
from serving.recall.channels.tables import TableChannels
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.breaker_guards import guarded
from serving.recall.servers.ports import Servers
from serving.recall.servers.tower import UserVectors
from serving.users.online_store import StoredUser
from tests.item_vectors.worlds import items_table
from tests.serving.fakes import FakeStore
from tests.serving.recall.channels.mixtures import ITEMS, VECTORS, make_generation
from tests.serving.recall.setting import begun

K, THEIRS = 10, 33
CITY = Categorical(name="city", tower="user")
CONFIG = parse_config("channels: [{kind: two_tower, share: 0.5}, {kind: second_generation, share: 0.5}]")


class Tower:
    """Makes the vector of an item of everybody, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, dict[str, Any]]] = []
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def vectors(self, full: int, generation: str, instances: Sequence[dict[str, Any]]) -> list[UserVectors]:
        await self.answers.wait()
        if self.error:
            raise self.error
        self.told += [(full, generation, one) for one in instances]
        return [UserVectors((VECTORS[THEIRS].tolist(),), False) for _ in instances]


class Asked:
    """A generation that knows cities, and its second, which does not."""

    def __init__(self, made: Manifest) -> None:
        assert made.mixture
        features = (*made.spec.features, CITY)
        self.live = LiveGeneration(
            made.model_copy(
                update={
                    "spec": made.spec.model_copy(update={"features": features}),
                    "mixture": made.mixture.model_copy(update={"second": "g2.5"}),
                }
            )
        )
        self.second = made.model_copy(update={"id": "g2.5", "full_version": 2})
        self.opened: list[str] = []
        self.tower, self.removed = Tower(), set[int | str]()
        index = JoinedIndex(FolderSearch(Path(made.item_vectors.uri).parent / "index"))
        servers = Servers(FakeStore(), self.tower, index)
        servers = guarded(servers, store_seconds=5, tower_seconds=5, index_seconds=5)
        self.own, self.tables = TwoTowerChannel(servers.index), TableChannels(self.removed)
        self.channel = SecondGenerationChannel(servers.tower, self.own, self.tables, self.open)

    async def open(self, id_: str) -> LiveGeneration:
        self.opened.append(id_)
        if self.tower.error:
            raise self.tower.error
        return LiveGeneration(self.second)

    async def answered(self, **fields: Any) -> Lookup:
        await self.tables.warm(self.live)
        await self.channel.warm(self.live)
        (lookup,) = begun(self.live, k=K, **fields)
        lookup.stored = StoredUser({"city": "Oslo"}, PastItems(), (THEIRS,))
        lookup.vectors = (VECTORS[0].tolist(),)
        await merge((self.own,), self.live, lookup, self.tables, second=self.channel)
        return lookup

    async def by_second(self, **fields: Any) -> list[int | str]:
        lookup = await self.answered(**fields)
        assert not lookup.degraded
        return [one["item_id"] for one in lookup.items if "second_generation" in one["channels"]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_generation(tmp_path_factory.mktemp("generation"), CONFIG)


@pytest.fixture
async def asked(made: Manifest) -> Asked:
    return Asked(made)


async def test_its_tower_is_told_what_it_knows_of_and_not_who_it_is(asked: Asked) -> None:
    past = [{"item_id": 21, "timestamp": 5}]
    found = await asked.by_second(user_id=5, profile={"city": "Rome"}, history=past)
    assert set(found) >= set(np.argsort(-VECTORS @ VECTORS[THEIRS])[: K // 2].tolist())
    ((full, generation, told),) = asked.tower.told
    assert (full, generation) == (2, "g2.5")
    assert told["user_id"] == NOBODY["int64"]
    assert (told["profile"], told["context"]) == ({}, {})
    assert [one["item_id"] for one in told["history"]] == [21]


async def test_filter_and_seen_and_removed_items_and_those_that_it_lacks_itself_hold(asked: Asked) -> None:
    fine = {row["item_id"] for row in items_table(ITEMS).to_pylist() if row["kind"] == "kind 0"}
    assert fine.issuperset(await asked.by_second(filter={"kind": "kind 0"}))
    assert THEIRS in await asked.by_second()
    assert THEIRS not in await asked.by_second(exclude_seen=True)
    asked.removed.add(THEIRS)
    assert THEIRS not in await asked.by_second()


async def test_what_only_the_second_has_is_no_candidate(asked: Asked) -> None:
    known = {int(item) for item in np.argsort(-VECTORS @ VECTORS[THEIRS])[:3]}

    class Strange(TwoTowerChannel):
        async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
            found = await super().candidates(live, lookup)
            return [{"item_id": ITEMS + 7, "score": 2.0}, *found] if live.id == "g2.5" else found

    index = JoinedIndex(FolderSearch(Path(asked.second.item_vectors.uri).parent / "index"))
    asked.channel = SecondGenerationChannel(asked.tower, Strange(index), asked.tables, asked.open)
    found = await asked.by_second()
    assert known <= set(found) and ITEMS + 7 not in found


async def test_what_the_second_refuses_or_lacks_costs_its_items_and_nothing_else(asked: Asked) -> None:
    async def missing(**fields: Any) -> None:
        lookup = await asked.answered(**fields)
        assert lookup.degraded == ["second_generation_missing"]
        assert [one["item_id"] for one in lookup.items] == [one["item_id"] for one in lookup.candidates["two_tower"]]

    asked.tower.error = UnavailableError("not here yet")
    await missing()
    asked.tower.error = None
    assert await asked.by_second(), "it is opened when it can be"
    assert asked.opened == ["g2.5"] * 2
    asked.tower.error = NotHeldError("lost")
    await missing()
    asked.tower.error = None
    # Its dataset had no such feature of items, which is nothing that a caller could mend.
    asked.second = asked.second.model_copy(update={"spec": asked.second.spec.model_copy(update={"features": ()})})
    asked.live = LiveGeneration(asked.live.manifest)
    await missing(filter={"kind": "kind 0"})


async def test_a_second_that_is_late_is_left_out_and_the_towers_are_not(asked: Asked) -> None:
    mixture = asked.live.manifest.mixture
    assert mixture
    towers, second = mixture.channels
    limited = mixture.model_copy(update={"channels": (towers, second.model_copy(update={"seconds": 0.01}))})
    asked.live = LiveGeneration(asked.live.manifest.model_copy(update={"mixture": limited}))
    asked.tower.answers.clear()
    lookup = await asked.answered()
    assert lookup.degraded == ["second_generation_missing"]
    assert len(lookup.items) == K
