"""`pagoda users forget` on a real Redis: nothing of the user is left or comes back, nobody else loses anything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import redis
from typer.testing import CliRunner

from pagoda.cli.data.users import app as cli
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.rollout.measures.outcomes import ROW, SIZE, OutcomeBatch, user_hash
from pagoda.rollout.measures.outcomes import STREAM as OUTCOMES
from pagoda.settings import RedisSettings, Settings
from serving.events.redis_stream import KafkaRecord, RedisStream
from serving.events.rules import Accepted
from serving.http.fields import PastItems
from serving.recall.api import RecallInstance
from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.steps import MISSING, REMEMBERED
from serving.recall.lookup import Lookup
from serving.users import forgetting
from serving.users.keys import STREAM, interests_key, profile_key, recent_key
from serving.users.loading import load_store
from serving.users.online_store import KeptVectors, OnlineStore, StoredUser
from serving.users.tombstone_follower import Forgetting
from serving.workers.event_compaction import HOUR_MS
from serving.workers.sink import Sink
from tests.data.folders import write_dataset
from tests.redis_databases import database
from tests.registry.worlds import World

pytestmark = pytest.mark.integration
ANN, BEN = "ann-4711", "ben-0815"
SPEC = FeatureSpec(id_type="string")
NOW = datetime(2026, 5, 2, tzinfo=UTC)


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 11)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as made:
        yield made


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    rows = [{"user_id": user, "item_id": "x", "event": "click", "timestamp": NOW} for user in (ANN, BEN)]
    users = [{"user_id": ANN}, {"user_id": BEN}]
    write_dataset(
        tmp_path / "dataset", spec=SPEC, parts=[("date=2026-05-02", rows)], users=users, items=[{"item_id": "x"}]
    )
    return Settings(home=tmp_path, redis=RedisSettings(url=url))


def accepted(user: str, event_id: str) -> Accepted:
    row = {"event_id": event_id, "user_id": user, "item_id": "x", "event": "click"}
    return Accepted({**row, "timestamp": int(NOW.timestamp() * 1e6)}, enters=True, positive=True)


async def take(url: str, *events: Accepted) -> int:
    stream = RedisStream(url, length=1000)
    try:
        return await stream.append(events)
    finally:
        await stream.close()


def forget(settings: Settings) -> forgetting.Forgot:
    return forgetting.forget(settings, ANN, str(settings.home / "dataset"))


def everything(client: redis.Redis) -> dict[bytes, str]:
    """All that Redis holds, but for whom events are dropped."""
    keys = [key for key in client.scan_iter() if key != b"forgotten"]
    reads: dict[bytes, Any] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
        b"hash": client.hgetall,
    }
    return {key: f"{key!r} {reads[client.type(key)](key)!r}" for key in keys}


def filed(settings: Settings) -> list[str]:
    """Whose rows the files of the dataset hold."""
    files = (settings.home / "dataset/interactions").rglob("*.parquet")
    return [user for path in files for user in pq.read_table(path)["user_id"].to_pylist()]


async def test_nothing_is_left_of_the_user_anywhere(url: str, client: redis.Redis, settings: Settings) -> None:
    log, world = ReleaseLog(settings.log_url), World(settings.home / "made")
    world.serve_chain(FolderRegistry(settings.home / "versions", log), log, 0)
    load_store(Dataset.open(settings.home / "dataset"), datetime(2026, 6, 1, tzinfo=UTC), url)
    await take(url, accepted(ANN, "1"), accepted(BEN, "2"))
    store = OnlineStore(url)
    await store.keep("g1", [(ANN, KeptVectors(1, ([1.0],))), (BEN, KeptVectors(1, ([1.0],)))], 600)
    await store.close()
    for user in (ANN, BEN):
        rows = np.array([(1, user_hash(user), 1.0, 8)], ROW)
        client.xadd(OUTCOMES, OutcomeBatch("r1", 5, False, rows).encode())  # type: ignore[arg-type]
        client.incrby(SIZE, rows.nbytes)
    before = {key for key, content in everything(client).items() if BEN in content}
    done = forget(settings)
    assert (done.store, done.waiting, done.outcomes, done.files) == (4, 1, 1, 2)
    left = everything(client)
    assert not any(ANN in content for content in left.values())
    assert {key for key, content in left.items() if BEN in content} == before
    assert [OutcomeBatch.decode(fields).rows["user"][0] for _, fields in client.xrange(OUTCOMES)] == [user_hash(BEN)]
    assert int(client.get(SIZE) or 0) == ROW.itemsize
    assert filed(settings) == [BEN]
    records = [record for record in log.records() if record.kind.startswith("forgetting.")]
    assert [record.body for record in records] == [{"receipt": done.receipt}] * 2
    assert forget(settings).model_dump(exclude={"receipt"}) == {"store": 0, "waiting": 0, "outcomes": 0, "files": 0}


async def test_events_that_are_still_on_their_way_are_dropped_until_the_tombstone_ends(
    url: str, client: redis.Redis, settings: Settings
) -> None:
    forget(settings)
    stream = RedisStream(url, length=1000)
    records = [KafkaRecord(0, [accepted(ANN, "1"), accepted(BEN, "2")]), KafkaRecord(1, [accepted(ANN, "3")])]
    assert await stream.apply("topic/0", -1, records) == 2  # From Kafka, as they waited there.
    await stream.close()
    assert await take(url, accepted(ANN, "4")) == 0
    assert [ANN in content for content in everything(client).values()].count(True) == 0
    assert client.xlen(STREAM) == 1
    client.zadd("forgotten", {ANN: int(time.time() * 1000) - 1000})
    assert await take(url, accepted(ANN, "5")) == 1


async def test_a_sink_that_had_read_the_events_already_files_nothing_of_them(
    url: str, client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, real = Sink(url, str(settings.home / "dataset"), slot_ms=1), Sink._entries
    await take(url, accepted(ANN, "1"), accepted(BEN, "2"))

    def meanwhile(self: Sink, slot: Any) -> list[bytes]:
        entries = real(self, slot)
        forget(settings)
        return entries

    monkeypatch.setattr(Sink, "_entries", meanwhile)
    while client.xlen(STREAM):
        sink.step()
    assert filed(settings) == [BEN, BEN]


async def test_a_compaction_that_was_killed_meanwhile_brings_nobody_back(
    url: str, client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = int(time.time() * 1000) // HOUR_MS * HOUR_MS - HOUR_MS
    for number, user in enumerate((ANN, BEN, BEN)):
        fields = {"event": json.dumps(accepted(user, str(number)).row)}
        client.xadd(STREAM, fields, id=f"{hour + number * 60_000}-1")
    dataset = str(settings.home / "dataset")

    def killed(self: Sink, names: Any) -> None:
        if any(f"-{hour + HOUR_MS:014d}" in name for name in names):
            forget(settings)  # It has seen the small files, not yet the large one: as if listed before it.
            raise KeyboardInterrupt

    large = f"events-{hour:014d}-{hour + HOUR_MS:014d}.parquet"
    real = forgetting.DatasetRows.names
    with monkeypatch.context() as patched:
        patched.setattr(Sink, "_erase", killed)
        patched.setattr(
            forgetting.DatasetRows, "names", lambda self: [name for name in real(self) if not name.endswith(large)]
        )
        with pytest.raises(KeyboardInterrupt):
            Sink(url, dataset, slot_ms=60_000).step()
    assert ANN in filed(settings)
    Sink(url, dataset, slot_ms=60_000).step()
    assert set(filed(settings)) == {BEN}


def test_killed_anywhere_it_is_finished_by_running_it_again(
    url: str, client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_store(Dataset.open(settings.home / "dataset"), datetime(2026, 6, 1, tzinfo=UTC), url)
    for step in ("_delete", "_drop", "_drop_outcomes", "DatasetRows"):
        with monkeypatch.context() as patched:
            patched.setattr(forgetting, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                forget(settings)
    first = forget(settings).receipt
    assert not any(ANN in content for content in everything(client).values())
    assert filed(settings) == [BEN]
    receipts = {record.body["receipt"] for record in ReleaseLog(settings.log_url).records()}
    assert receipts == {first}


async def test_recall_remembers_them_no_more_for_when_redis_is_down(url: str, settings: Settings) -> None:
    fallback = Fallback()
    lookups = [
        Lookup(RecallInstance(user_id=user), EVERYTHING, StoredUser({"age": 1}, PastItems(), ())) for user in (ANN, BEN)
    ]
    fallback.remember(lookups, "g1")
    forget(settings)
    follows = Forgetting(url, fallback.forget)
    await follows.look()
    await follows.close()
    fallback.recall(lookups, "g1")
    assert [one.degraded for one in lookups] == [[MISSING], [REMEMBERED]]


def test_the_command_line_takes_the_id_from_standard_input_so_that_no_shell_history_has_it(
    url: str, client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGODA_REDIS__URL", url)
    client.set(profile_key(ANN), "{}")
    client.set(interests_key(ANN), '["Drama"]')
    client.rpush(recent_key(BEN), "1:x")
    words = ["forget", "-", "--home", str(settings.home), "-o", "json"]
    found = CliRunner().invoke(cli, words, input=f"{ANN}\n", catch_exceptions=False)
    assert {**json.loads(found.stdout), "receipt": ""} == {
        "receipt": "",
        "store": 2,
        "waiting": 0,
        "outcomes": 0,
        "files": 2,
    }
    assert (client.exists(profile_key(ANN), interests_key(ANN)), client.exists(recent_key(BEN))) == (0, 1)


def test_without_redis_it_says_so_and_can_be_run_again(settings: Settings) -> None:
    down = settings.model_copy(update={"redis": RedisSettings(url="redis://127.0.0.1:1/0")})
    with pytest.raises(UnavailableError, match="try again"):
        forget(down)
    assert filed(settings) == [ANN, BEN]
