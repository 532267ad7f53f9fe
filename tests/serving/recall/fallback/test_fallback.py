"""What answers when a server does not: marked, counted, never a mixture of generations, and back as soon as it is."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError, NotHeldError, RequestError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.generations.manifest import Artifact
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.rollout.measures.outcomes import Flag
from serving.http.deadlines import deadline, left
from serving.http.overload import ShedError
from serving.recall.api import Prediction, RecalledItem
from serving.recall.channels.popular import Popular, PopularChannel, load_popular
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.steps import CACHED, MISSING, OOV, POPULAR, REMEMBERED
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.generations.generation import LiveGeneration
from serving.recall.items.item_log import ItemLogFollower
from serving.recall.request.admission import Admission
from serving.recall.request.answer import answer_by
from serving.recall.request.outcomes import OutcomeWriter
from serving.recall.request.service import Recall
from serving.recall.servers.breaker import FAILURES, FORGOTTEN_SECONDS, OPEN, PAUSE_SECONDS, Breaker, Breakers
from serving.tower.batching import Batching
from serving.users.keys import Key
from serving.users.online_store import KeptVector, OnlineStore, StoredUser
from tests.serving.fakes import FakeIndex, FakeStore, manifest
from tests.serving.recall.test_service import Setting, ask
from tests.serving.worlds import make_spec

ITEMS = pa.table(
    {
        "item_id": [7, 3, 9, 1],
        "clicks": [40, 20, 10, 0],
        "genres": [["Drama"], ["Comedy", "Drama"], ["Comedy"], []],
        "year": [1990.0, 2005.0, -1.7976931348623157e308, 1970.0],
    }
)


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

    async def search(self, *given: Any, **wanted: Any) -> list[RecalledItem]:
        self.check()
        return await super().search(*given, **wanted)


class Listed(PopularChannel):
    """Has the list from nowhere."""

    async def warm(self, live: LiveGeneration) -> None:
        self._of[live] = Popular(live.spec, ITEMS, self._removed)


class Failing(Setting):
    """A service with a fallback whose servers can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.index = Store(), Index()
        channels = (TwoTowerChannel(self.index), Listed(frozenset()))
        self.parts = replace(self.parts, store=self.store, channels=channels, fallback=Fallback())
        self.recall = Recall(self.parts, self.generations, self.ledger, canary_seconds=5.0)
        self.down = Down()
        self.tower.before = self.down.check

    async def one(self, **fields: Any) -> Prediction:
        (prediction,) = await self.recall.answer(ask(**fields))
        return prediction


@pytest.fixture
async def failing() -> Failing:
    made = Failing()
    await made.generations.refresh()
    return made


GONE = UnavailableError("gone")


async def test_without_the_store_users_are_as_last_read_or_known_by_their_id_alone(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({"age": 30}, ({"item_id": 1, "timestamp": 5},), (11,))
    assert (await failing.one(exclude_seen=True))["degraded"] == []
    failing.store.error = GONE
    assert (await failing.one(exclude_seen=True))["degraded"] == [REMEMBERED]
    told = failing.tower.asked[-1][2][0]
    assert (told["profile"], len(told["history"])) == ({"age": 30}, 1)
    assert failing.index.asked[-1][2] == (11,)
    assert (await failing.one(user_id=6))["degraded"] == [MISSING]
    failing.store.error = None
    assert (await failing.one(user_id=6))["degraded"] == []


async def test_without_the_tower_kept_vectors_answer_and_then_that_of_nobody(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({}, (), (), vector=KeptVector(1, [7.0, 0.0]))
    failing.down.error = GONE
    known, unknown = await failing.recall.answer([*ask(), *ask(user_id=6)])
    assert (known["degraded"], known["items"][0]["item_id"]) == ([CACHED], "items_3/7")
    assert (unknown["degraded"], unknown["items"][0]["item_id"], unknown["known_user"]) == ([OOV], "items_3/3", False)


async def test_a_remembered_users_vector_is_no_other_generations(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({"age": 30}, (), (), basis=1, vector=KeptVector(1, [3.0, 0.0]))
    assert (await failing.one())["generation"] == "g3"
    failing.store.error = GONE
    failing.log.arms = Arms(stable="g4")
    await failing.generations.refresh()
    cache = VectorCache(cast(OnlineStore, None), seconds=600, reuse=True)
    live = failing.generations.require().stable
    (spared,) = await answer_by(live, "stable", replace(failing.parts, vector_cache=cache), ask())
    assert (spared["degraded"], spared["items"][0]["item_id"]) == ([REMEMBERED], "items_4/4")
    failing.down.error = GONE
    answer = await failing.one()
    assert (answer["degraded"], answer["items"][0]["item_id"]) == ([REMEMBERED, OOV], "items_4/4")


async def test_a_tower_that_lost_the_generation_is_stood_in_for_too(failing: Failing) -> None:
    failing.down.error = NotHeldError("restarted")
    assert (await failing.one())["degraded"] == [OOV]


async def test_a_lost_generation_is_stood_in_for_in_time_though_the_release_log_hangs(failing: Failing) -> None:
    hangs = threading.Event()
    failing.down.error = NotHeldError("restarted")
    failing.recall = Recall(failing.guarded(), failing.generations, failing.ledger, canary_seconds=5.0)
    failing.generations._log = cast(ReleaseLog, SimpleNamespace(state=lambda: hangs.wait(10) and failing.log.state()))
    try:
        with deadline("100"):
            async with asyncio.timeout(5):
                assert OOV in (await failing.one())["degraded"]
    finally:
        hangs.set()


async def test_without_the_index_popular_items_satisfy_filter_and_exclusion(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({}, (), (7,))
    failing.index.error = GONE
    answer = await failing.one(exclude_seen=True, filter={"genres": ["Comedy", "Drama"]})
    assert (answer["degraded"], [item["item_id"] for item in answer["items"]]) == ([POPULAR], [3, 9])
    assert (await failing.one(k=1))["items"] == [{"item_id": 7, "score": 1.0}]


async def test_all_at_once_is_still_an_answer_and_a_wrong_request_still_refused(failing: Failing) -> None:
    failing.store.error = failing.down.error = failing.index.error = GONE
    answer = await failing.one(user_id=6)
    assert answer["degraded"] == [MISSING, OOV, POPULAR]
    assert len(answer["items"]) == 4
    failing.down.error = RequestError("feature 'age': got 'old'")
    with pytest.raises(RequestError):
        await failing.one(profile={"age": "old"})


async def test_the_stable_arm_stands_in_for_a_canary_before_anything_else_does(failing: Failing) -> None:
    failing.log.try_out(99)
    await failing.follow()

    async def only_stable(generation: str) -> None:
        if generation == "g4":
            raise GONE

    failing.tower.wait = only_stable
    answer = await failing.one()
    assert (answer["generation"], answer["arm"], answer["degraded"]) == ("g3", "stable", [])
    failing.down.error = GONE
    answer = await failing.one()
    assert (answer["generation"], answer["degraded"]) == ("g3", [OOV])


async def test_what_stood_in_for_every_step_is_known_only_after_a_warm_up() -> None:
    cold = Failing()
    cold.store.error = GONE
    await cold.generations.refresh()
    assert cold.generations.ready  # the store is not needed
    for part in (cold.down, cold.index):
        colder = Failing()
        part.error = GONE
        colder.tower.before, colder.index.error = cold.down.check, cold.index.error
        await colder.generations.refresh()
        assert not colder.generations.ready
        part.error = None


async def test_a_breaker_opens_probes_once_and_closes() -> None:
    now, calls, gate = 0.0, 0, asyncio.Event()
    error: Exception | None = UnavailableError("down")
    breaker = Breaker("a server", clock=lambda: now)

    async def ask_server() -> str:
        nonlocal calls
        calls += 1
        await gate.wait()
        if error:
            raise error
        return "answer"

    async def tried() -> object:
        return (await asyncio.gather(breaker.call(ask_server, 5), return_exceptions=True))[0]

    gate.set()
    for _ in range(FAILURES + 3):
        assert isinstance(await tried(), UnavailableError)
    assert calls == FAILURES
    now, calls = PAUSE_SECONDS + 0.1, 0
    gate.clear()
    probes = [asyncio.create_task(tried()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert [type(one) for one in await asyncio.gather(*probes)] == [UnavailableError] * 5
    assert calls == 1
    now, error = now + PAUSE_SECONDS + 0.1, None
    assert await tried() == "answer"
    assert await asyncio.gather(*(tried() for _ in range(5))) == ["answer"] * 5


async def test_slow_is_down_but_a_refusal_or_a_caller_in_a_hurry_is_not() -> None:
    breaker = Breaker("slow")

    async def slow() -> None:
        await asyncio.sleep(5)

    async def refuse() -> None:
        raise RequestError("wrong")

    for _ in range(2 * FAILURES):
        with deadline("5"), pytest.raises(UnavailableError):
            await breaker.call(slow, 5)
        with pytest.raises(RequestError):
            await breaker.call(refuse, 5)
    assert breaker.state == 0
    for _ in range(FAILURES):
        with pytest.raises(UnavailableError, match=r"0\.001"):
            await breaker.call(slow, 0.001)
    assert breaker.state == 2


async def test_a_probe_that_decides_nothing_leaves_the_breaker_open() -> None:
    now = 0.0
    breaker = Breaker("undecided", clock=lambda: now)

    async def slow() -> None:
        await asyncio.sleep(5)

    async def gone() -> None:
        raise GONE

    for _ in range(FAILURES):
        with pytest.raises(UnavailableError):
            await breaker.call(gone, 5)
    now = PAUSE_SECONDS + 0.1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(breaker.call(slow, 5), 0.01)
    assert REGISTRY.get_sample_value("pagoda_recall_breaker_state", {"server": "undecided"}) == OPEN == breaker.state


def test_a_breaker_of_a_version_that_serves_no_more_is_forgotten() -> None:
    now = 0.0
    breakers = Breakers(clock=lambda: now)
    old, kept = breakers.of("tower 7000"), breakers.of("tower 7001")
    now = FORGOTTEN_SECONDS
    assert breakers.of("tower 7001") is kept
    now += 1
    breakers.of("tower 7002")
    told = [REGISTRY.get_sample_value("pagoda_recall_breaker_state", {"server": f"tower 700{one}"}) for one in range(3)]
    assert told == [None, 0, 0]
    assert breakers.of("tower 7001") is kept and breakers.of("tower 7000") is not old


async def test_one_versions_trouble_is_not_anothers() -> None:
    setting = Setting()

    async def only_three(generation: str) -> None:
        if generation == "g4":
            raise GONE

    fallback, live = Fallback(), {full: LiveGeneration(manifest(full)) for full in (3, 4)}
    for one in live.values():
        await fallback.warm(one, setting.tower)
    setting.tower.wait = only_three
    parts = replace(setting.guarded(), fallback=fallback)
    for _ in range(2 * FAILURES):
        assert (await answer_by(live[4], "stable", parts, ask()))[0]["degraded"] == [OOV]
        assert (await answer_by(live[3], "stable", parts, ask()))[0]["degraded"] == []


async def test_a_deadline_that_has_passed_is_answered_without_asking(failing: Failing) -> None:
    parts, live = failing.guarded(), failing.generations.require().stable
    asked = len(failing.tower.asked)
    with deadline("0.001"):
        await asyncio.sleep(0.002)
        assert left(1) < 0
        (answer,) = await answer_by(live, "stable", parts, ask(user_id=77))
    assert answer["degraded"] == [MISSING, OOV, POPULAR]
    assert len(failing.tower.asked) == asked
    for wrong in ("soon", "-1", "nan", "1e9"):
        with pytest.raises(RequestError, match="x-pagoda-deadline-ms"), deadline(wrong):
            pass


async def test_too_much_at_once_is_told_to_come_back(failing: Failing) -> None:
    gate = asyncio.Event()
    failing.recall._admission = Admission(10)

    async def wait(_: str) -> None:
        await gate.wait()

    failing.tower.wait = wait
    many = [asyncio.create_task(failing.recall.answer(ask(user_id=user))) for user in range(30)]
    while sum(task.done() for task in many) < 20:
        await asyncio.sleep(0)
    gate.set()
    ends = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(end, ShedError) for end in ends) == 20
    assert len(await failing.recall.answer(ask() * 50)) == 50  # alone, whatever its size


@pytest.mark.parametrize("id_type", ["int64", "string"])
def test_the_popular_list_is_read_from_the_generations_files(id_type: str, tmp_path: Path) -> None:
    spec: FeatureSpec = make_spec(id_type)
    count = 50
    columns: dict[str, Any] = {"item_id": np.arange(count)}
    if id_type == "string":
        columns["item_key"] = [f"item-{number}" for number in range(count)]
    columns |= {"genres": [["Drama"] if n % 2 else ["Comedy"] for n in range(count)], "year": np.arange(count) + 1960.0}
    vectors = tmp_path / "item_vectors.parquet"
    with ItemVectorsWriter(vectors, spec, 2) as writer:
        writer.write(pa.table(columns), np.tile(np.array([[1, 0]], np.float32), (count, 1)))
    popularity = pa.table({"item_id": [40, 41, 10, 999], "clicks": [9, 6, 3, 1]})
    pq.write_table(popularity, tmp_path / "popularity.parquet")
    made = manifest(3, spec).model_copy(
        update={
            "base": Artifact(uri=str(tmp_path), checksum=""),
            "item_vectors": Artifact(uri=str(vectors), checksum=""),
        }
    )
    popular = load_popular(made)
    name = (lambda number: f"item-{number}") if id_type == "string" else int
    assert [item["item_id"] for item in popular.items(EVERYTHING, (), 10)] == [name(40), name(41), name(10)]
    wanted = FilterParser(make_spec()).parse({"genres": {"none": ["Comedy"]}, "year": {"gte": 1990}})
    drama = popular.items(wanted, (), 10)
    assert [item["item_id"] for item in drama] == [name(41)]
    with pytest.raises(UnavailableError):
        load_popular(made.model_copy(update={"base": Artifact(uri=str(tmp_path / "no"), checksum="")}))


def test_kept_vectors_come_back_as_they_were() -> None:
    kept = KeptVector(2**64 - 1, [0.5, -0.25, 1.0])
    assert KeptVector.decode(kept.encode()) == kept
    with pytest.raises(ValueError, match="length"):
        KeptVector.decode(b"123")


def test_removed_items_are_in_no_popular_list_until_they_come_back(tmp_path: Path) -> None:
    log = ItemLog(str(tmp_path))
    removed = ItemLogFollower(log)
    popular = Popular(make_spec(), ITEMS, removed.removed)
    for changes, expected in (
        ([ItemChange(item_id=7, features=None), ItemChange(item_id=9, features=None)], [3, 1]),
        ([ItemChange(item_id=7, features={})], [7, 3]),
    ):
        log.append(changes)
        removed.read()
        assert [item["item_id"] for item in popular.items(EVERYTHING, (), 2)] == expected


def test_a_batch_delay_that_torchserve_does_not_take_as_said_is_refused() -> None:
    with pytest.raises(ConfigError, match="100 ms"):
        Batching(size=16, delay_ms=0)
    assert Batching(size=1, delay_ms=0).query()["max_batch_delay"] == 0


async def test_what_the_towers_did_not_make_counts_as_a_fallback_for_the_gates(failing: Failing) -> None:
    failing.log.try_out(50)
    await failing.follow()
    outcomes, flags = OutcomeWriter("redis://127.0.0.1:9", 1 << 20), []
    for broken in (None, failing.store, failing.index):
        if broken is not None:
            broken.error = GONE
        await failing.one(user_id=6)
        outcomes.take(*failing.ledger.timings[-1])
        ((rows,), outcomes._pending) = (list(outcomes._pending.values()), defaultdict(list))
        flags.append(bool(rows[0][3] & Flag.FALLBACK))
    assert flags == [False, False, True]
