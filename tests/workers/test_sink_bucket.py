"""The sink and the item worker on a dataset in an object store, as updates then read it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from pagoda.data.mirror import open_local_or_mirrored
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.changes import removed, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.settings import Settings
from pagoda.storage.copies import upload
from pagoda.updates.item_replay import ItemReplay
from serving.users.keys import STREAM
from serving.workers.event_compaction import HOUR_MS
from serving.workers.items import ItemWorker
from serving.workers.sink import Sink
from tests.data.folders import write_dataset
from tests.redis_databases import database

from .test_sink import SPEC, put

pytestmark = pytest.mark.integration


def test_events_and_items_reach_updates_through_a_bucket(bucket: str, redis_url: str, tmp_path: Path) -> None:
    url, dataset = database(redis_url, 13), f"{bucket}/shop"
    rows = [{"user_id": -1, "item_id": 10, "event": "click", "timestamp": datetime(2026, 4, 1, tzinfo=UTC)}]
    made = write_dataset(
        tmp_path / "made", spec=SPEC, parts=[("date=2026-04-01", rows)], users=[{"user_id": 1}], items=[{"item_id": 10}]
    )
    for path in made.rglob("*.*"):
        if path.is_file():
            upload(path, f"{dataset}/{path.relative_to(made).as_posix()}")
    client = redis.Redis.from_url(url)
    now_ms = int(time.time() * 1000)
    hour = now_ms - now_ms % HOUR_MS - HOUR_MS
    for number in range(40):
        put(client, number, hour + number * 60_000, item_id=10 + number % 2)
    assert Sink(url, dataset, slot_ms=60_000).step() == 40
    assert client.xlen(STREAM) == 0
    log, item_log = ReleaseLog(f"{bucket}/log"), ItemLog(f"{bucket}/log/items")
    local = open_local_or_mirrored(dataset, tmp_path / "copy")
    assert local.count() == 1 + 20  # item 11 is not there yet

    item_log.append([upserted(SPEC, {"item_id": 11}, "item"), removed(SPEC, 10, "item")])
    assert ItemWorker(log, item_log, ItemReplay(Settings(home=tmp_path), log), dataset).step() == 1
    local = open_local_or_mirrored(dataset, tmp_path / "copy")
    assert local.count() == 1 + 40
    assert local.items()["item_id"].to_pylist() == [10, 11]
