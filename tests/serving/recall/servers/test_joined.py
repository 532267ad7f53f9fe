"""Requests that go together to a server are answered as if each had gone alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.errors import NotHeldError, RequestError
from pagoda.index.base import FoundItem
from pagoda.index.build import build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from serving.http.fields import PastItems
from serving.recall.api import RecallInstance
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.lookup import Lookup
from serving.recall.servers.batching import JoinedIndex, JoinedStore, JoinedTower
from serving.recall.servers.tower import UserVectors
from serving.users.keys import Key
from serving.users.online_store import KeptVectors, OnlineStore, StoredUser
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors


class Slow:
    """A store and a tower that take a moment, and refuse user 13."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    async def read(self, users: Sequence[tuple[Key, bool]], *_: FeatureSpec) -> list[StoredUser]:
        self.calls.append([user for user, _ in users])
        await asyncio.sleep(0.001)
        return [StoredUser({"user": user}, PastItems(), ()) for user, _ in users]

    async def vectors(self, _: int, generation: str, instances: Sequence[dict[str, Any]]) -> list[UserVectors]:
        users = [one["user_id"] for one in instances]
        self.calls.append(users)
        await asyncio.sleep(0.001)
        if generation == "gone":
            raise NotHeldError("gone")
        if 13 in users:
            raise RequestError("13 is refused")
        return [UserVectors(([float(generation[1:]), float(user)],), True) for user in users]


async def test_every_request_gets_its_own_users_back() -> None:
    slow, spec = Slow(), FeatureSpec()
    joined = JoinedStore(slow)
    found = await asyncio.gather(*(joined.read([(number, False), (-number, True)], spec) for number in range(100)))
    assert [[one.profile["user"] for one in users] for users in found] == [[n, -n] for n in range(100)]
    assert len(slow.calls) < 10


async def test_what_is_refused_spoils_nobody_elses_answer_and_generations_never_mix() -> None:
    slow = Slow()
    joined = JoinedTower(slow)
    asked = [(number, f"g{number % 2}") for number in range(40)]
    found = await asyncio.gather(
        *(joined.vectors(1, generation, [{"user_id": user}]) for user, generation in asked), return_exceptions=True
    )
    for (user, generation), answer in zip(asked, found, strict=True):
        if user == 13:
            assert isinstance(answer, RequestError)
        else:
            assert answer == [UserVectors(([float(generation[1:]), float(user)],), True)]
    with pytest.raises(NotHeldError):
        await joined.vectors(1, "gone", [{"user_id": 1}])


class Counted(FolderSearch):
    """A search that counts its calls."""

    calls = 0

    async def search(self, *given: Any, **wanted: Any) -> list[list[FoundItem]]:
        self.calls += 1
        return await super().search(*given, **wanted)


async def test_searches_go_together_where_they_want_the_same_of_the_items(tmp_path: Path) -> None:
    index, items = Counted(tmp_path / "index"), tmp_path / "v.parquet"
    vectors = write_vectors(items, 40).tolist()
    build_collection(FolderCollections(tmp_path / "index"), "joined", items, SPEC, queries=unit_vectors(5))
    parse, joined = FilterParser(SPEC).parse, JoinedIndex(index)
    filters = [parse({"kind": kind}) for kind in ("kind 1", ["kind 2"])]

    async def best(number: int) -> Any:
        wanted, excluded = filters[number % 2], (number,) if number % 4 == 3 else ()
        asked = [vectors[number]]
        ((found,),) = await joined.search("joined", asked, 1, wanted=wanted, excluded=excluded, keys=False)
        return found["item_id"]

    found = await asyncio.gather(*(best(number) for number in range(40)))
    kinds = items_table(40)["kind"].to_pylist()
    assert [kinds[item] for item in found] == ["kind 1", "kind 2"] * 20
    assert all(item != number for number, item in enumerate(found) if number % 4 == 3)
    # 20 want the same, and 16 fit into a call; so do 10 others; each of the last 10 wants what nobody else does.
    assert index.calls == 2 + 1 + 10


class Written:
    """A store that takes vectors."""

    def __init__(self) -> None:
        self.kept: dict[Key, KeptVectors] = {}

    async def keep(self, _: str, vectors: Sequence[tuple[Key, KeptVectors]], __: int) -> None:
        self.kept.update(vectors)


@pytest.mark.parametrize("reuse", [False, True])
async def test_vectors_are_kept_and_reused_only_while_what_they_were_made_of_is_unchanged(reuse: bool) -> None:
    written = Written()
    cache = VectorCache(cast(OnlineStore, written), seconds=60, reuse=reuse)
    asked = [RecallInstance(user_id=user, context={"a": 1} if user == 3 else {}) for user in range(5)]
    kept = [KeptVectors(9, ([1.0],)), KeptVectors(8, ([1.0],)), None, None, None]
    stored = [StoredUser({}, PastItems(), (), basis=9, vectors=each) for each in kept]
    lookups = [Lookup(one, EVERYTHING, stored=known) for one, known in zip(asked, stored, strict=True)]
    lookups[4].degraded.append("store_missing")
    assert [cache.fresh(one) for one in lookups] == [([1.0],) if reuse else None, *[None] * 4]
    for lookup in lookups:
        lookup.vectors, lookup.known = ([float(lookup.instance.user_id)],), True
    cache.keep("g3", lookups)
    await cache.flush()
    assert written.kept == {1: KeptVectors(9, ([1.0],)), 2: KeptVectors(9, ([2.0],))}
