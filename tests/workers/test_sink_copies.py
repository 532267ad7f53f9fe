"""With `events.format: tfrecord`, each event is in one TFRecord file too, once its hour is over."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pytest
import redis

from pagoda.data.dataset import Dataset
from pagoda.data.tfrecord.columns import batches_of, column_types
from pagoda.data.tfrecord.records import read_records
from serving.users.tombstones import Tombstones
from serving.workers.event_compaction import HOUR_MS
from serving.workers.sink import Sink
from tests.embeddings.test_tables_killed import run_killed_at
from tests.redis_databases import database, empty

from .test_sink import dataset, filed, put

__all__ = ["dataset"]
pytestmark = pytest.mark.integration


@pytest.fixture
def url(redis_url: str) -> str:
    return database(redis_url, 11)


def hours_ago(count: int) -> int:
    """The start of an hour, as ms since 1970."""
    now_ms = int(time.time() * 1000)
    return now_ms - now_ms % HOUR_MS - count * HOUR_MS


def copied(folder: Path) -> list[int]:
    """The users of all copies."""
    users = []
    for path in sorted(folder.glob("tfrecord/date=*/events-*.tfrecord")):
        types = column_types(read_records(path), str(path))
        for batch in batches_of(read_records(path), types, str(path)):
            users += [values[0] for values in batch.column("user_id").to_pylist()]
            assert batch.column("timestamp").type == pa.list_(pa.int64())
    return users


def test_every_event_of_an_hour_that_is_over_is_copied_once_and_updates_read_on(url: str, dataset: Path) -> None:
    client = redis.Redis.from_url(url)
    for number in range(60):
        put(client, number, hours_ago(2) + number * 60_000)
    put(client, 60, hours_ago(1) + 1)  # The hour's only file, which no other will stand for.
    put(client, 61, hours_ago(0) + 1)
    sink = Sink(url, str(dataset), tfrecord=True, slot_ms=60_000)
    sink.step()
    assert sorted(copied(dataset)) == list(range(61))
    assert len(list(dataset.glob("tfrecord/date=2026-05-01/*"))) == 2
    assert {*range(61)} <= set(filed(dataset))
    before = {path: path.stat().st_mtime_ns for path in dataset.glob("tfrecord/*/*")}
    Sink(url, str(dataset), tfrecord=True, slot_ms=60_000).step()
    assert {path: path.stat().st_mtime_ns for path in dataset.glob("tfrecord/*/*")} == before


def test_without_it_there_are_no_copies_and_with_it_those_of_before_too(url: str, dataset: Path) -> None:
    client = redis.Redis.from_url(url)
    put(client, 0, hours_ago(1))
    Sink(url, str(dataset), slot_ms=60_000).step()
    assert not (dataset / "tfrecord").exists()
    Sink(url, str(dataset), tfrecord=True, slot_ms=60_000).step()
    assert copied(dataset) == [0]


def test_whoever_is_being_forgotten_leaves_the_copies(url: str, dataset: Path) -> None:
    client = redis.Redis.from_url(url)
    for number in range(6):
        put(client, number % 2, hours_ago(1) + number)
    Sink(url, str(dataset), tfrecord=True, slot_ms=60_000).step()
    assert sorted(copied(dataset)) == [0, 0, 0, 1, 1, 1]
    forgotten = Tombstones(client)
    forgotten.put("1", 1)
    sink = Sink(url, str(dataset), tfrecord=True, slot_ms=60_000)
    sink.step()
    assert copied(dataset) == [0, 0, 0]
    assert Dataset.open(dataset).count() == 4


def test_a_sink_killed_at_a_touch_of_the_disk_copies_nothing_twice(url: str, dataset: Path) -> None:
    client = redis.Redis.from_url(url)
    step, number, killed = 1, 0, True
    while killed:
        empty(url)
        for _ in range(3):
            put(client, number, hours_ago(1 + step) + number * 1000)
            number += 1
        killed = run_killed_at(step, lambda: Sink(url, str(dataset), tfrecord=True, slot_ms=60_000).step(), dataset)
        Sink(url, str(dataset), tfrecord=True, slot_ms=60_000).step()
        assert sorted(copied(dataset)) == list(range(number))
        step += 13
