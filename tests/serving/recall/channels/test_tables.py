"""A generation that declares channels: filter, seen and removed items hold in each; a dead one costs its items."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.config.training import parse_config
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import to_us
from pagoda.errors import RequestError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.index.in_process.search import FolderSearch
from pagoda.item_vectors.filter import EVERYTHING
from serving.recall.api import RecalledItem
from serving.recall.channels.merge import merge
from serving.recall.channels.tables import TableChannels
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.fallback.steps import TOWERS
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.answer import answer_by
from serving.recall.request.parts import Parts
from serving.recall.request.warm_up import warm_up
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.breaker import FAILURES
from serving.recall.servers.breaker_guards import guarded
from serving.recall.servers.ports import Servers
from tests.item_vectors.worlds import items_table, write_vectors
from tests.serving.fakes import FakeIndex, FakeStore, FakeTower, manifest
from tests.serving.recall.channels.mixtures import END, ITEMS, VECTORS, make_generation
from tests.serving.recall.channels.test_channels import Stub
from tests.serving.recall.setting import begun

K = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A generation with its tables and its collection."""
    return make_generation(tmp_path_factory.mktemp("generation"))


async def answered(
    made: Manifest,
    *,
    removed: frozenset[int] = frozenset(),
    changed: dict[int | str, bytes] | None = None,
    towers: Any = None,
    **fields: Any,
) -> Lookup:
    folder = Path(made.item_vectors.uri).parent
    live, tables = LiveGeneration(made), TableChannels(removed, changed)
    await tables.warm(live)
    (lookup,) = begun(live, k=K, timestamp=to_us(END), **fields)
    lookup.vectors = (VECTORS[0].tolist(),)
    await merge((towers or TwoTowerChannel(JoinedIndex(FolderSearch(folder / "index"))),), live, lookup, tables)
    return lookup


def by_channel(lookup: Lookup) -> dict[str, set[int | str]]:
    names = ("two_tower", "item_to_item", "popular")
    return {name: {one["item_id"] for one in lookup.items if name in one["channels"]} for name in names}


PAST = [{"item_id": 21, "timestamp": to_us(END) - 1}]
"""Who chose item 21 chose item 40."""


async def test_items_come_from_all_channels_and_say_which(made: Manifest) -> None:
    lookup = await answered(made, history=PAST)
    found = by_channel(lookup)
    assert len({one["item_id"] for one in lookup.items}) == K
    assert 40 in found["item_to_item"] & found["popular"]
    assert len(found["two_tower"]) >= K // 4 and len(found["popular"]) >= K // 4
    assert not lookup.degraded
    newcomer = by_channel(await answered(made))
    assert not newcomer["item_to_item"]
    assert len(newcomer["popular"]) >= K // 2


async def test_users_who_ask_at_the_same_time_get_what_each_gets_alone(made: Manifest) -> None:
    live, tables = LiveGeneration(made), TableChannels(frozenset({3}))
    await tables.warm(live)
    towers = TwoTowerChannel(JoinedIndex(FolderSearch(Path(made.item_vectors.uri).parent / "index")))

    async def answer(number: int) -> list[RecalledItem]:
        past = [{"item_id": 21 + place, "timestamp": to_us(END) - 1 - place} for place in range(number % 4)]
        fields: dict[str, Any] = {"filter": {"kind": "kind 0"}} if number % 3 == 1 else {}
        (lookup,) = begun(
            live, k=3 + number, timestamp=to_us(END), history=past, exclude_seen=bool(number % 2), **fields
        )
        lookup.vectors = (VECTORS[number].tolist(),)
        await merge((towers,), live, lookup, tables)
        return lookup.items

    alone = [await answer(number) for number in range(12)]
    assert await asyncio.gather(*map(answer, range(12))) == alone


async def test_what_each_channel_gave_and_what_counts_for_it_is_known(made: Manifest) -> None:
    lookup = await answered(made, history=PAST)
    credit = {one["item_id"]: one["channels"][0] for one in lookup.items}
    assert lookup.credits == Counter(credit.values()) and lookup.credits.total() == K
    assert lookup.given["two_tower"] == K and 0 < lookup.given["item_to_item"] <= K
    assert set(lookup.given) == {"two_tower", "item_to_item", "popular"}
    assert (await answered(made)).given["item_to_item"] == 0


async def test_filter_and_seen_and_removed_items_hold_in_every_channel(made: Manifest) -> None:
    wanted = {"kind": "kind 0"}
    fine = {row["item_id"] for row in items_table(ITEMS).to_pylist() if row["kind"] == "kind 0"}
    assert 40 in fine
    found = by_channel(await answered(made, history=PAST, filter=wanted))
    assert all(items <= fine for items in found.values())
    assert 40 in found["item_to_item"] & found["popular"]
    seen = [*PAST, {"item_id": 40, "timestamp": 5}]
    for lookup in (
        await answered(made, history=seen, exclude_seen=True),
        await answered(made, removed=frozenset({40})),
    ):
        assert 40 not in by_channel(lookup)["popular"] | by_channel(lookup)["item_to_item"]
    # What was said of an item last stands before what was exported.
    for said, there in ((b"{}", False), (b'{"kind": "kind 1"}', False), (b'{"kind": "kind 0"}', True)):
        changed = by_channel(await answered(made, history=PAST, filter=wanted, changed={40: said}))
        assert (40 in changed["popular"]) == there
    other = by_channel(await answered(made, filter={"kind": "kind 9"}, changed={40: b'{"kind": "kind 9"}'}))
    assert other["popular"] == {40}


async def test_an_item_that_the_generation_has_no_vector_of_is_no_candidate(made: Manifest, tmp_path: Path) -> None:
    write_vectors(tmp_path / "v.parquet", 35)
    vectors = made.item_vectors.model_copy(update={"uri": str(tmp_path / "v.parquet")})
    folder = Path(made.item_vectors.uri).parent
    towers = TwoTowerChannel(JoinedIndex(FolderSearch(folder / "index")))
    fewer = by_channel(await answered(made.model_copy(update={"item_vectors": vectors}), towers=towers, history=PAST))
    assert 40 not in fewer["popular"] | fewer["item_to_item"] and fewer["popular"]


async def test_a_table_that_is_damaged_costs_its_items_and_nothing_else(made: Manifest) -> None:
    assert made.mixture
    tables = {
        name: file.model_copy(update={"checksum": "xxh3:0"}) if name.startswith("popular/") else file
        for name, file in made.mixture.tables.items()
    }
    damaged = made.model_copy(update={"mixture": made.mixture.model_copy(update={"tables": tables})})
    lookup = await answered(damaged, history=PAST)
    assert lookup.degraded == ["popular_missing"] and "popular" not in lookup.given
    assert len(lookup.items) == K
    assert 40 in by_channel(lookup)["item_to_item"]


async def test_without_the_towers_the_other_channels_answer_where_anything_may_stand_in(made: Manifest) -> None:
    gone = Stub("two_tower", UnavailableError("gone"))
    with pytest.raises(UnavailableError, match="gone"):
        await answered(made, history=PAST, towers=gone)
    live, tables = LiveGeneration(made), TableChannels()
    await tables.warm(live)
    (lookup,) = begun(live, k=K, history=PAST)
    await merge((gone, Stub("stand-in", stands_in="index_popular")), live, lookup, tables)
    assert lookup.degraded == [TOWERS]
    assert 40 in by_channel(lookup)["popular"]
    # Two places each are theirs, and now they fill all.
    (many,) = begun(live, k=11, history=PAST)
    await merge((gone, Stub("stand-in", stands_in="index_popular")), live, many, tables)
    assert len(many.items) == 11


def waiting(made: Manifest, seconds: float, towers: Any) -> tuple[Parts, LiveGeneration]:
    """The generation with so long for the search of its `towers`, and an index that has a breaker before it."""
    assert made.mixture
    first, *others = made.mixture.channels
    channels = (first.model_copy(update={"seconds": seconds}), *others)
    live = LiveGeneration(made.model_copy(update={"mixture": made.mixture.model_copy(update={"channels": channels})}))
    servers = Servers(FakeStore(), FakeTower({live.id}), towers)
    servers = guarded(servers, store_seconds=5, tower_seconds=5, index_seconds=5)
    stand_in = Stub("stand-in", stands_in="index_popular")
    return Parts(servers.store, servers.tower, (TwoTowerChannel(servers.index), stand_in)), live


class Slow(FakeIndex):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.now = asyncio.Event()

    async def search(self, *asked: Any, **wanted: Any) -> list[list[RecalledItem]]:
        await self.now.wait()
        return await super().search(*asked, **wanted)


async def test_towers_that_are_late_cost_their_items_and_nothing_else(made: Manifest) -> None:
    slow = Slow()
    parts, live = waiting(made, 0.001, slow)
    await parts.tables.warm(live)
    for _ in range(2 * FAILURES):
        (said,) = await answer_by(live, "stable", parts, begun(live, k=K, history=PAST, timestamp=to_us(END)))
        assert said["degraded"] == [TOWERS]
        assert 40 in {item["item_id"] for item in said["items"]}
        assert {name for item in said["items"] for name in item["channels"]} == {"item_to_item", "popular"}
    slow.now.set()
    # Who does not wait says nothing of the server, so it is still asked.
    (said,) = await answer_by(live, "stable", replace(parts, deadlines=False), begun(live, k=K, history=PAST))
    assert not said["degraded"]


async def test_a_late_search_of_a_canary_is_answered_by_the_stable_arm(made: Manifest) -> None:
    parts, live = waiting(made, 0.001, Slow())
    await parts.tables.warm(live)
    with pytest.raises(UnavailableError, match="index items: no answer within"):
        await answer_by(live, "canary", parts.strict, begun(live, k=K, history=PAST))


async def test_a_generation_gets_warm_however_long_its_first_searches_take(made: Manifest) -> None:
    slow = Slow()
    parts, live = waiting(made, 0.001, slow)
    asyncio.get_running_loop().call_later(0.02, slow.now.set)
    await warm_up(live, parts)
    assert slow.asked


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A generation with a list that editors wrote, and items that go together by their vectors."""
    towers, near = "{kind: two_tower, share: 0.5}", "{kind: item_to_item, share: 0.25, method: vectors}"
    editors = "{kind: editorial, share: 0.25, items: [40, 41, 42, 43, 44, 45]}"
    config = parse_config(f"channels: [{towers}, {near}, {editors}]")
    return make_generation(tmp_path_factory.mktemp("written"), config)


async def test_lists_of_editors_and_neighbours_by_vector_heed_filter_seen_and_removed_items(written: Manifest) -> None:
    async def found(**asked: Any) -> dict[str, list[int | str]]:
        lookup = await answered(written, **asked)
        assert not lookup.degraded
        kinds = ("editorial", "item_to_item")
        return {kind: [one["item_id"] for one in lookup.items if kind in one["channels"]] for kind in kinds}

    assert [item for item in (await found())["editorial"] if item in (40, 41, 42)] == [40, 41, 42]
    nearest = np.argsort(-VECTORS @ VECTORS[21])
    assert set((await found(history=PAST))["item_to_item"]) >= set(nearest[1:3].tolist())
    fine = {row["item_id"] for row in items_table(ITEMS).to_pylist() if row["kind"] == "kind 0"}
    filtered = await found(history=PAST, filter={"kind": "kind 0"})
    assert filtered["editorial"] == [40] and fine.issuperset(filtered["item_to_item"])
    seen = [*PAST, {"item_id": 40, "timestamp": 5}]
    assert all({21, 40}.isdisjoint(items) for items in (await found(history=seen, exclude_seen=True)).values())
    assert all(41 not in items for items in (await found(history=PAST, removed=frozenset({41}))).values())


def test_by_behaviour_nothing_is_like_an_item_whose_neighbours_are_by_vector(written: Manifest) -> None:
    with pytest.raises(RequestError, match="by vectors alone; ask by vector"):
        TableChannels().similar(LiveGeneration(written), [40], EVERYTHING, 5)


def test_a_manifest_without_channels_says_nothing_of_them(made: Manifest) -> None:
    assert "mixture" not in manifest(3, FeatureSpec()).model_dump(mode="json")
    assert Manifest.model_validate_json(made.model_dump_json()) == made
