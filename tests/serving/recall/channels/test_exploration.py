"""New items among an answer's: in their places, with their probabilities, and known by what became of them."""

from __future__ import annotations

import asyncio
import copy
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from pagoda.channels.explore import ExploreTable
from pagoda.config.channels import Explore
from pagoda.config.training import parse_config
from pagoda.data.window import to_us
from pagoda.generations.manifest import Manifest
from pagoda.index.in_process.search import FolderSearch
from serving.events.redis_stream import RedisStream
from serving.events.rules import Accepted
from serving.recall.channels.exploration import ChoiceAsk, Exploration, NearAsk, NewItems
from serving.recall.channels.exploration_counts import ExplorationCounts, counts_of
from serving.recall.channels.merge import merge
from serving.recall.channels.tables import TableChannels, open_channel
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.batching import JoinedIndex
from serving.users.keys import EXPLORED, STREAM
from tests.channels.logs import ITEMS as LOG_ITEMS
from tests.channels.logs import Act, all_of, opened
from tests.redis_databases import database
from tests.serving.recall.channels.mixtures import END, ITEMS, VECTORS, make_generation
from tests.serving.recall.setting import begun

K, SHARE = 12, 0.2
NOBODY = "redis://127.0.0.1:1/0"
FIVE_MINUTES = 300_000_000


@pytest.fixture(scope="module", params=["epsilon", "thompson"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Manifest:
    explore = f"{{kind: explore, share: {SHARE}, clicks: 10, nearest: 20, method: {request.param}}}"
    config = parse_config(f"channels: [{{kind: two_tower, share: {1 - SHARE}}}, {explore}]")
    return make_generation(tmp_path_factory.mktemp("generation"), config)


class Service:
    """What puts new items among the towers'."""

    def __init__(self, made: Manifest, url: str = NOBODY, removed: frozenset[int] = frozenset()) -> None:
        self.live, self.tables = LiveGeneration(made), TableChannels(removed)
        self.exploration = Exploration(self.tables, ExplorationCounts(url))
        self.towers = TwoTowerChannel(JoinedIndex(FolderSearch(Path(made.item_vectors.uri).parent / "index")))

    async def warm(self) -> Service:
        await self.tables.warm(self.live)
        await self.exploration.warm(self.live)
        return self

    async def answer(self, user: int = 5, at_us: int = to_us(END), **fields: Any) -> Lookup:
        (lookup,) = begun(self.live, k=K, user_id=user, timestamp=at_us, **fields)
        lookup.vectors = (VECTORS[0].tolist(),)
        await merge((self.towers,), self.live, lookup, self.tables, exploration=self.exploration)
        return lookup


def explored(lookup: Lookup) -> dict[int, float]:
    return {int(one["item_id"]): one["propensity"] for one in lookup.items if "propensity" in one}


async def test_new_items_have_their_part_of_the_places_and_the_others_order_stays(made: Manifest) -> None:
    service = await Service(made).warm()
    towers = [one["item_id"] for one in (await Service(made).answer()).items]  # It explores nothing before it is warm.
    numbers, chosen = Counter[int](), Counter[int]()
    for user in range(1, 200):
        lookup = await service.answer(user)
        new = explored(lookup)
        assert len(lookup.items) == K and not lookup.degraded
        assert [one["item_id"] for one in lookup.items if "propensity" not in one] == towers[: K - len(new)]
        assert all(0 < propensity <= 1 for propensity in new.values())
        assert all(one["channels"] == ["explore"] for one in lookup.items if "propensity" in one)
        numbers[len(new)] += 1
        chosen.update(new)
    assert set(numbers) == {2, 3}  # 0.2 of 12 places are 2.4.
    assert 0.25 < numbers[3] / 199 < 0.55
    assert 40 not in chosen  # It was chosen by more than 10.
    assert set(towers).isdisjoint(chosen)
    nearest = sorted(set(range(ITEMS)) - {40} - set(towers), key=lambda item: -float(VECTORS[item] @ VECTORS[0]))[:20]
    assert set(chosen) <= set(nearest)


async def test_who_asks_again_is_answered_alike_and_later_by_chance_anew(made: Manifest) -> None:
    service = await Service(made).warm()
    first, again = await service.answer(), await service.answer(at_us=to_us(END) + 1)
    assert first.items == again.items
    later = [explored(await service.answer(at_us=to_us(END) + number * FIVE_MINUTES)) for number in range(1, 8)]
    assert any(found.keys() != explored(first).keys() for found in later)


async def test_filter_and_seen_and_removed_items_hold_for_new_items(made: Manifest) -> None:
    removed = frozenset(range(0, ITEMS, 3))
    service = await Service(made, removed=removed).warm()
    past = [{"item_id": item, "timestamp": 5} for item in range(1, ITEMS, 3)]
    for user in range(1, 30):
        found = explored(await service.answer(user, history=past, exclude_seen=True))
        assert found and all(item % 3 == 2 for item in found)


async def test_a_table_that_is_damaged_costs_the_new_items_and_nothing_else(made: Manifest) -> None:
    assert made.mixture
    tables = {name: one.model_copy(update={"checksum": "xxh3:0"}) for name, one in made.mixture.tables.items()}
    damaged = made.model_copy(update={"mixture": made.mixture.model_copy(update={"tables": tables})})
    lookup = await (await Service(damaged).warm()).answer()
    assert lookup.degraded == ["explore_missing"]
    assert len(lookup.items) == K and not explored(lookup)


def event(number: int, item: int, kind: str) -> Accepted:
    row = {"event_id": f"e{number}", "user_id": number, "item_id": item, "event": kind, "timestamp": to_us(END)}
    return Accepted(row, enters=False, positive=kind == "click")


@pytest.mark.integration
async def test_what_becomes_of_new_items_is_counted_once_and_known_to_all(made: Manifest, redis_url: str) -> None:
    url = database(redis_url, 13)
    service, stream = await Service(made, url).warm(), RedisStream(url, length=100)
    await stream.append([event(1, 7, "click")])
    assert not redis.Redis.from_url(url).exists(EXPLORED)  # Nobody explores yet, so nothing is counted.
    await service.exploration.look()
    shown = [event(number, 7, "impression") for number in range(2, 30)]
    await stream.append([*shown, *(event(number, 7, "click") for number in range(30, 41)), event(41, 40, "click")])
    await stream.append(shown)
    await service.exploration.look()
    found = redis.Redis.from_url(url).hgetall(EXPLORED)
    assert counts_of([7, 8, 40], found).tolist() == [[28, 0, -1], [11, 0, -1]]
    assert all([7 not in explored(await service.answer(user)) for user in range(1, 60)])
    await stream.close()


@pytest.mark.integration
async def test_a_later_window_says_which_items_are_new_and_what_was_counted_stands(
    made: Manifest, redis_url: str
) -> None:
    url = database(redis_url, 13)
    counts = ExplorationCounts(url)
    table = open_channel(made, "explore")
    assert isinstance(table, ExploreTable)
    begin = table.counts[:, :3] * 0
    assert counts_of([1, 2, 3], await counts.look(5, [1, 2, 3], begin)).tolist() == [[0, 0, 0], [0, 0, 0]]
    stream = RedisStream(url, length=100)
    await stream.append([event(1, 2, "impression"), event(2, 3, "click")])
    later = await counts.look(6, [2, 4], begin[:, :2] + 9)
    assert counts_of([1, 2, 3, 4], later).tolist() == [[-1, 1, -1, 9], [-1, 0, -1, 9]]
    # A process that still has the earlier version changes nothing.
    assert await counts.look(5, [1, 2, 3], begin) == later
    await stream.close()
    await counts.close()


KILLED = """
import asyncio, os, signal
import numpy as np
from serving.recall.channels.exploration_counts import ExplorationCounts

counts = ExplorationCounts({url!r})
begin = counts._begin

async def die(*arguments):
    if {after}:
        await begin(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

counts._begin = die
asyncio.run(counts.look(6, [2, 4], np.full((2, 2), 9)))
"""


@pytest.mark.integration
@pytest.mark.long
@pytest.mark.parametrize("after", [False, True])
async def test_killed_while_counts_begin_and_looked_again_they_are_as_if_never_killed(
    redis_url: str, *, after: bool
) -> None:
    url = database(redis_url, 13)
    counts, stream = ExplorationCounts(url), RedisStream(url, length=100)
    await counts.look(5, [1, 2, 3], np.zeros((2, 3), np.int64))
    await stream.append([event(1, 2, "impression")])
    program = [sys.executable, "-c", KILLED.format(url=url, after=after)]
    killed = await asyncio.to_thread(subprocess.run, program, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    await stream.append([event(2, 2, "click")])
    later = await counts.look(6, [2, 4], np.full((2, 2), 9))
    assert counts_of([1, 2, 3, 4], later).tolist() == [[-1, 1, -1, 9], [-1, 1, -1, 9]]
    await stream.close()
    await counts.close()


@pytest.mark.integration
async def test_counts_that_are_none_cost_no_event(redis_url: str) -> None:
    url = database(redis_url, 13)
    redis.Redis.from_url(url).set(EXPLORED, "no counts")
    stream = RedisStream(url, length=100)
    await stream.append([event(1, 2, "click")])
    assert redis.Redis.from_url(url).xlen(STREAM) == 1
    await stream.close()


@pytest.mark.integration
async def test_a_candidate_with_fewer_new_items_takes_none_of_the_others_away(made: Manifest, redis_url: str) -> None:
    service = await Service(made, database(redis_url, 13)).warm()
    (own,) = service.exploration._all
    later = copy.copy(own.table)
    later.items, later.counts, later.window_end_us = own.table.items[:3], own.table.counts[:, :3], 1 << 60
    candidate = NewItems(later, own.names[:3], VECTORS[later.items])
    service.exploration._all.add(candidate)
    free = own.beliefs.free.copy()
    await service.exploration.look()
    assert (own.beliefs.free == free).all() and free.sum() > 3


def test_where_nothing_is_new_nothing_is_near() -> None:
    acts = [Act(8000, 1, row["item_id"], "click", None) for row in LOG_ITEMS]
    with opened(Explore(share=SHARE, clicks=1), acts) as table:
        items = NewItems(table, [], np.empty((0, 0), np.float32))
        (near,) = items.near([NearAsk(VECTORS[:1], all_of, 5)])
        assert items.chosen([ChoiceAsk(near, set(), 2.0, 1)]) == [[]]


def test_what_is_believed_follows_the_counts(made: Manifest) -> None:
    table = open_channel(made, "explore")
    assert isinstance(table, ExploreTable)
    table.declared = Explore(share=SHARE, clicks=10)
    items = NewItems(table, table.items.tolist(), VECTORS[table.items])
    place = int(table.items.searchsorted(7))
    counts = np.array(table.counts)
    counts[:, place] = 500, 9
    few = items.beliefs.draws[place].mean()
    items.take_in(counts)
    assert items.beliefs.draws[place].mean() < few / 2
    assert items.beliefs.free[place]
    counts[:, place] = 500, 10
    items.take_in(counts)
    assert not items.beliefs.free[place]
