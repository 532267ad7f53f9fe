"""Events by way of a real Kafka-compatible broker and a real Redis: each is applied once, whatever ends in between."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pagoda.errors import UnavailableError
from pagoda.settings import KafkaSettings
from serving.background import cancel
from serving.events import kafka_stream
from serving.events.kafka_stream import GROUP, KafkaStream
from serving.events.redis_stream import APPLIED, RedisStream
from serving.events.rules import Accepted
from serving.http.body_reading import TooLargeError
from serving.users.keys import STREAM, recent_key, seen_key
from tests.kafka_broker import make_topic
from tests.redis_databases import database, empty
from tests.serving.torchserve import free_port

pytestmark = pytest.mark.integration
PARTITIONS = 3


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 14)


@pytest.fixture
async def settings(servers: str) -> KafkaSettings:
    """A topic of the test's own."""
    return KafkaSettings(servers=servers, topic=await make_topic(servers, PARTITIONS))


def click(number: int, user: int = 5) -> Accepted:
    row = {"event_id": f"e{number}", "user_id": user, "item_id": 100 + number, "event": "click", "timestamp": number}
    return Accepted(row, enters=True, positive=True)


@asynccontextmanager
async def applying(settings: KafkaSettings, url: str, length: int = 10_000) -> AsyncIterator[KafkaStream]:
    """A stream whose records are applied until the block ends."""
    stream = KafkaStream(settings, RedisStream(url, length=length))
    following = asyncio.create_task(stream.follow())
    try:
        yield stream
    finally:
        await cancel(following)
        await stream.close()


def taken(url: str) -> list[str]:
    """IDs of the events in the stream, in order."""
    return [orjson.loads(fields[b"event"])["event_id"] for _, fields in redis.Redis.from_url(url).xrange(STREAM)]


async def until(url: str, count: int) -> list[str]:
    """Wait for so many events in the stream."""
    async with asyncio.timeout(60):
        while len(found := taken(url)) < count:
            await asyncio.sleep(0.02)
    return found


async def test_what_kafka_takes_comes_into_the_stream_and_to_its_user_once(settings: KafkaSettings, url: str) -> None:
    async with applying(settings, url) as stream:
        assert await stream.append([click(1), click(2)]) == 2
        assert await stream.append([click(2), click(3, user=6)]) == 2
        assert sorted(await until(url, 3)) == ["e1", "e2", "e3"]
    store = redis.Redis.from_url(url)
    assert sorted(store.lrange(recent_key(5), 0, -1)) == [b"1:101", b"2:102"]
    assert store.zrange(seen_key(6), 0, -1) == [b"103"]


async def test_the_next_answer_knows_what_was_taken_and_nobody_applies_it_again(
    settings: KafkaSettings, url: str
) -> None:
    stream = KafkaStream(settings, RedisStream(url, length=100))
    for number in range(10):
        await stream.append([click(number, user=number)])
        assert redis.Redis.from_url(url).zrange(seen_key(number), 0, -1) == [str(100 + number).encode()]
    await stream.close()
    async with applying(settings, url):
        await committed(settings, 10)
    assert taken(url) == [f"e{number}" for number in range(10)]


async def test_what_redis_takes_when_nobody_waits_for_it_any_more_is_told(
    settings: KafkaSettings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever applies the record after that finds that it was applied, and nothing new in it."""
    told: list[str] = []
    store = RedisStream(url, length=100, taken=lambda events: told.extend(one.row["event_id"] for one in events))
    busy, apply = asyncio.Event(), store.apply

    async def late(*arguments: Any) -> int:
        await busy.wait()
        return await apply(*arguments)

    monkeypatch.setattr(store, "apply", late)
    monkeypatch.setattr(kafka_stream, "_NOW_SECONDS", 0.01)
    stream = KafkaStream(settings, store)
    assert await stream.append([click(1)]) == 1
    assert not taken(url)
    busy.set()
    await stream.close()
    assert taken(url) == told == ["e1"]


async def test_events_wait_in_kafka_for_redis_and_for_the_sink(settings: KafkaSettings, url: str) -> None:
    nowhere = KafkaStream(settings, RedisStream("redis://127.0.0.1:9", length=10))
    for number in range(8):
        assert await nowhere.append([click(number, user=number)]) == 1
    await nowhere.close()
    async with applying(settings, url, length=5):
        await until(url, 5)
        store = redis.Redis.from_url(url)
        assert len(taken(url)) == 5
        first = set(taken(url))
        store.xtrim(STREAM, maxlen=0)
        rest = set(await until(url, 3))
    assert first | rest == {f"e{number}" for number in range(8)}
    assert not first & rest


async def test_who_takes_over_applies_the_rest_and_nothing_twice(settings: KafkaSettings, url: str) -> None:
    sent = 0
    for _ in range(3):
        async with applying(settings, url) as stream:
            for _ in range(20):
                await stream.append([click(sent, user=sent)])
                sent += 1
            await until(url, sent - 10)
    async with applying(settings, url), applying(settings, url):
        found = await until(url, sent)
    assert sorted(found) == sorted(f"e{number}" for number in range(sent))


async def test_what_redis_loses_is_applied_again(settings: KafkaSettings, url: str) -> None:
    """A power loss takes the last second of Redis; what Kafka's group has committed is then ahead of it."""
    store = redis.Redis.from_url(url)
    async with applying(settings, url) as stream:
        for number in range(10):
            await stream.append([click(number, user=5)])  # one user: one partition
        await until(url, 10)
        (partition,) = store.hkeys(APPLIED)
        lost = [entry for entry, _ in store.xrange(STREAM)][6:]
        pipeline = store.pipeline(transaction=True)
        pipeline.xdel(STREAM, *lost)
        pipeline.hset(APPLIED, partition, int(store.hget(APPLIED, partition)) - 4)
        pipeline.delete(*(f"event:e{number}" for number in range(6, 10)))
        pipeline.execute()
        await stream.append([click(10, user=5)])
        found = await until(url, 11)
    assert sorted(found) == sorted(f"e{number}" for number in range(11))


APPLIER = """
import asyncio
from pagoda.settings import KafkaSettings
from serving.events.kafka_stream import KafkaStream
from serving.events.redis_stream import RedisStream

async def main():
    await KafkaStream(KafkaSettings(servers={servers!r}, topic={topic!r}), RedisStream({url!r}, length=100000)).follow()

asyncio.run(main())
"""


@pytest.mark.long
async def test_whoever_is_killed_while_applying_loses_and_doubles_nothing(settings: KafkaSettings, url: str) -> None:
    draw, sent = random.Random(3), 0
    program = APPLIER.format(servers=settings.servers, topic=settings.topic, url=url)
    stream = KafkaStream(settings, RedisStream(url, length=100_000))
    for _ in range(8):
        applier = subprocess.Popen([sys.executable, "-c", program])
        try:
            before = len(taken(url))
            for _ in range(3_000):
                await stream.append([click(sent, user=sent % 50)])
                sent += 1
            await until(url, before + draw.randrange(1, 3_000))
        finally:
            applier.kill()
            applier.wait()
    await stream.close()
    async with applying(settings, url, length=100_000):
        found = await until(url, sent)
    assert len(found) == len(set(found)) == sent


async def test_an_empty_redis_goes_on_where_the_group_was(settings: KafkaSettings, url: str) -> None:
    async with applying(settings, url) as stream:
        await stream.append([click(1)])
        await until(url, 1)
        await committed(settings, 1)
    empty(url)
    async with applying(settings, url) as stream:
        await stream.append([click(2)])
        assert await until(url, 1) == ["e2"]


async def test_a_topic_that_was_made_anew_loses_nothing_in_silence(
    settings: KafkaSettings, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first records have offsets that Redis says are applied."""
    store, stream = redis.Redis.from_url(url), KafkaStream(settings, RedisStream(url, length=10))
    places = [f"{settings.topic}/{number}" for number in range(PARTITIONS)]
    store.hset(APPLIED, mapping=dict.fromkeys(places, 7))
    await stream.append([click(1)])
    await stream.close()
    async with applying(settings, url):
        async with asyncio.timeout(30):
            while not any("was made anew" in line for line in caplog.messages):
                await asyncio.sleep(0.05)
        assert taken(url) == []
        store.hdel(APPLIED, *places)  # as the message says
        assert await until(url, 1) == ["e1"]


async def committed(settings: KafkaSettings, records: int) -> None:
    """Wait until the group has committed so many records."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.servers, group_id=GROUP, enable_auto_commit=False)
    places = [TopicPartition(settings.topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            while sum([await consumer.committed(place) or 0 for place in places]) < records:
                await asyncio.sleep(0.05)
    finally:
        await consumer.stop()


async def test_a_record_of_somebody_else_is_left_out(
    settings: KafkaSettings, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.servers)
    await producer.start()
    foreign = b'[{"row": {"user_id": 5}, "enters": true, "positive": true}]'
    for value in (b"\xff", b"{}", b"[1]", b'[{"user": 1}]', foreign, foreign.replace(b'{"user_id": 5}', b"5"), None):
        await producer.send_and_wait(settings.topic, value, key=b"5")
    await producer.stop()
    async with applying(settings, url) as stream:
        await stream.append([click(1)])
        assert await until(url, 1) == ["e1"]
    assert sum("left out" in line for line in caplog.messages) >= 5


async def test_without_kafka_events_are_to_be_sent_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_stream, "_APPEND_SECONDS", 1.0)
    stream = KafkaStream(KafkaSettings(servers=f"127.0.0.1:{free_port()}"), RedisStream(url, length=10))
    with pytest.raises(UnavailableError, match=r"Kafka at 127.*send the events again"):
        await stream.append([click(1)])
    await stream.close()


async def test_what_fits_no_record_is_refused(settings: KafkaSettings, url: str) -> None:
    stream = KafkaStream(settings, RedisStream(url, length=10))
    large = click(1)
    large.row["note"] = "".join(uuid4().hex for _ in range(100_000))
    with pytest.raises(TooLargeError, match="fewer at once"):
        await stream.append([large])
    await stream.close()
