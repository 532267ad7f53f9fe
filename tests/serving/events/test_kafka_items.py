"""Item changes by way of a real Kafka-compatible broker: in order by item, each once, whatever ends in between."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pagoda.generations.arms import Arms
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.changes import upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_changes.snapshots import Fold
from pagoda.settings import ItemKafkaSettings, ItemSettings, RedisSettings, Settings
from serving.events import factory
from serving.release_follower import ReleaseFollower
from tests.kafka_broker import make_topic
from tests.serving.fakes import FakeLog, manifest

from .test_items import SPEC

pytestmark = pytest.mark.integration
PARTITIONS = 3


@pytest.fixture
async def settings(servers: str) -> ItemKafkaSettings:
    """A topic of the test's own."""
    topic = await make_topic(servers, PARTITIONS)
    return ItemKafkaSettings(servers=servers, topic=topic, group=topic)


@pytest.fixture
def log(tmp_path: Path) -> ItemLog:
    return ItemLog(str(tmp_path / "log" / "items"))


@asynccontextmanager
async def taking(kafka: ItemKafkaSettings, home: Path) -> AsyncIterator[None]:
    """What a recall process does with the topic, until the block ends."""
    releases = ReleaseFollower(cast(ReleaseLog, FakeLog([manifest(3, SPEC)], Arms(stable="g3"))))
    await releases.look()
    settings = Settings(home=home, redis=RedisSettings(url="redis://127.0.0.1:9"), items=ItemSettings(kafka=kafka))
    async with factory.taking(settings, releases, lambda _: None):
        yield


async def send(settings: ItemKafkaSettings, records: Sequence[tuple[bytes | None, bytes | None]]) -> None:
    """Records by key and value, each in the partition of its key."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.servers)
    await producer.start()
    try:
        for key, value in records:
            await producer.send(settings.topic, value, key=key)
        await producer.flush()
    finally:
        await producer.stop()


def item(number: int, year: int) -> tuple[bytes, bytes]:
    return str(number).encode(), orjson.dumps({"item_id": number, "year": year})


def tombstone(number: int) -> tuple[bytes, None]:
    return str(number).encode(), None


def change(number: int, year: int) -> ItemChange:
    return upserted(SPEC, {"item_id": number, "year": year}, "item")


def read(log: ItemLog) -> list[ItemChange]:
    """All changes in the log, in order."""
    return [one for record in log.records() for one in record.changes]


def states(log: ItemLog) -> dict[int | str, Any]:
    """What the log says last of each item: its year; None: it is removed."""
    fold = Fold()
    fold.take_all(log.records())
    found = {one.item_id: fold.state_of(one.item_id) for one in read(log)}
    return {id_: one.features and one.features.get("year") for id_, one in found.items() if one}


async def until(log: ItemLog, changes: int) -> None:
    """Wait for so many changes in the log."""
    async with asyncio.timeout(60):
        while len(read(log)) < changes:
            await asyncio.sleep(0.05)


async def until_committed(settings: ItemKafkaSettings, records: int) -> None:
    """Wait until the group has committed so many records."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.servers, group_id=settings.group, enable_auto_commit=False)
    places = [TopicPartition(settings.topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while sum([await consumer.committed(place) or 0 for place in places]) < records:
                await asyncio.sleep(0.05)
    finally:
        await consumer.stop()


async def test_what_is_in_the_topic_comes_into_the_log_in_order_by_item_and_many_in_a_record(
    settings: ItemKafkaSettings, log: ItemLog, tmp_path: Path
) -> None:
    rounds = [[item(number, 2000 + turn) for number in range(40)] for turn in range(10)]
    last = [tombstone(number) for number in range(0, 40, 2)]
    await send(settings, [record for one in [*rounds, last] for record in one])
    async with taking(settings, tmp_path):
        await until(log, 420)
        await until_committed(settings, 420)
    assert states(log) == {number: None if number % 2 == 0 else 2009.0 for number in range(40)}
    for number in range(40):
        years = [one.features["year"] for one in read(log) if one.item_id == number and one.features]
        assert years == [2000.0 + turn for turn in range(10)]
    assert len(list(log.records())) <= 40


@pytest.mark.long  # Joining a group again takes the broker 18 s.
async def test_who_takes_over_goes_on_and_two_at_once_take_each_record_once(
    settings: ItemKafkaSettings, log: ItemLog, tmp_path: Path
) -> None:
    async with taking(settings, tmp_path):
        await send(settings, [item(number, 1) for number in range(30)])
        await until(log, 30)
    await send(settings, [item(number, 2) for number in range(30)])
    async with taking(settings, tmp_path), taking(settings, tmp_path):
        await send(settings, [item(number, 3) for number in range(30)])
        await until(log, 90)
        await until_committed(settings, 90)
    assert len(read(log)) == 90
    assert states(log) == dict.fromkeys(range(30), 3.0)


KILLED = """
import asyncio, os, signal
from pathlib import Path
from pagoda.append_log.store import FolderStore
from pagoda.data.spec import FeatureSpec
from pagoda.item_changes.log import ItemLog
from pagoda.settings import ItemKafkaSettings
from serving.events.kafka_items import KafkaItems
from serving.events.kafka_topic import TopicFollower

class Killed(ItemLog):
    def append(self, *arguments, **further):
        if {after}:
            super().append(*arguments, **further)
        os.kill(os.getpid(), signal.SIGKILL)

class Specs:
    async def spec(self):
        return FeatureSpec.model_validate_json({spec!r})

# In a group of its own: the broker would wait for the dead to come back.
settings = ItemKafkaSettings(servers={servers!r}, topic={topic!r}, group="killed")
items = KafkaItems(Killed({folder!r}), Specs(), FolderStore(Path({folder!r}) / "refused"))
asyncio.run(TopicFollower(settings, settings.group, items).follow())
"""


@pytest.mark.parametrize("after", [True, pytest.param(False, marks=pytest.mark.long)])
async def test_a_kill_before_the_commit_loses_nothing_and_undoes_no_later_change(
    settings: ItemKafkaSettings, log: ItemLog, tmp_path: Path, *, after: bool
) -> None:
    folder = str(tmp_path / "log" / "items")
    await send(settings, [item(7, 1990), (b"7", b"bad"), item(7, 1991)])
    place = {"servers": settings.servers, "topic": settings.topic, "folder": folder}
    program = KILLED.format(after=after, spec=SPEC.model_dump_json(), **place)
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    taken = [change(7, 1990), change(7, 1991)]
    assert read(log) == (taken if after else [])
    log.append([change(7, 2026)])  # over HTTP, meanwhile
    await send(settings, [item(8, 1)])
    async with taking(settings, tmp_path):
        await until_committed(settings, 4)
    # What was read before is not read again; what was not comes when it is read.
    assert states(log) == {7: 2026.0 if after else 1991.0, 8: 1.0}
    assert len(read(log)) == 4
    (file,) = Path(folder, "refused").iterdir()
    assert [orjson.loads(line)["value"] for line in file.read_bytes().splitlines()] == ["bad"]
