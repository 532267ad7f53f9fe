"""No log line and no error of the servers and workers names a user, whatever comes in and whatever is damaged."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import orjson
import pytest
import redis
from tenacity import RetryCallState

from pagoda.data.spec import Categorical, FeatureSpec
from pagoda.errors import RequestError
from serving import logs
from serving.events import kafka_stream
from serving.events.intake import EventIntake
from serving.events.redis_stream import RedisStream
from serving.events.routes import PATH, events_router
from serving.http.client_complaints import Complaints
from serving.recall import app
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.users.keys import STREAM, profile_key, recent_key, seen_key, vector_key
from serving.users.online_store import OnlineStore
from serving.workers import loop
from serving.workers.sink import Sink
from tests.data.folders import write_dataset
from tests.redis_databases import database
from tests.serving.events.test_events import Specs
from tests.serving.recall.setting import Setting
from tests.serving.recall.test_app import PREDICT

from .callers import HEADERS, tokens
from .worlds import make_spec

pytestmark = pytest.mark.integration
MARKED = 471108150042
MARK = str(MARKED)


class Lines(logging.Handler):
    """What the service would write, as text and as JSON."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.exc_text = None
        self.text.append(logs.Discreet("%(name)s %(message)s").format(record))
        record.exc_text = None
        self.text.append(logs.JsonLines().format(record))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    assert not [line for line in handler.text if MARK in line and "asyncio" not in line]


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 8)


BAD: dict[str, Any] = {
    "profile is no JSON": lambda client: client.set(profile_key(MARKED), f"{{{MARK}"),
    "profile is no object": lambda client: client.set(profile_key(MARKED), f'["{MARK}"]'),
    "profile of another type": lambda client: client.rpush(profile_key(MARKED), MARK),
    "behaviour of another type": lambda client: client.set(recent_key(MARKED), MARK),
    "behaviour unreadable": lambda client: client.rpush(recent_key(MARKED), f"x{MARK}:y{MARK}"),
    "seen of another type": lambda client: client.set(seen_key(MARKED), MARK),
    "vector cut short": lambda client: client.set(vector_key("g3", MARKED), b"123"),
}


@pytest.mark.parametrize("damage", BAD)
async def test_what_the_store_holds_is_damaged(
    url: str, lines: Lines, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_complaints", Complaints(app.logger))  # One of a kind is told a second.
    BAD[damage](redis.Redis.from_url(url))
    store, setting = OnlineStore(url, 5), Setting()
    parts = replace(setting.parts, store=store, vector_cache=VectorCache(store, seconds=60, reuse=True))
    setting.recall = Recall(parts, setting.generations, setting.ledger, canary_seconds=5)
    await setting.generations.refresh()
    try:
        body = {"instances": [{"user_id": MARKED, "k": 2, "exclude_seen": True}]}
        answer = await post(service(setting), PREDICT, body)
    finally:
        await store.close()
    assert answer.status_code in (500, 503)
    assert MARK not in answer.text
    assert any("online store" in line for line in lines.text)


def service(setting: Setting, *further: Any) -> httpx.ASGITransport:
    return httpx.ASGITransport(RecallServer(setting.recall, setting.generations, tokens(), further).app)


async def post(recall: httpx.ASGITransport, path: str, body: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=recall, base_url="http://recall") as client:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await client.post(path, content=content, headers=HEADERS)


@pytest.mark.parametrize(
    "error",
    [KeyError(MARKED), ValueError(f"user {MARK}"), RequestError(f"instances.0.profile.age: must be … (got {MARK})")],
)
async def test_something_fails_that_nobody_thought_of(lines: Lines, error: Exception) -> None:
    setting = Setting()
    await setting.generations.refresh()

    async def fails(_: str) -> None:
        raise error from LookupError(MARK)

    setting.tower.wait = fails
    answer = await post(service(setting), PREDICT, {"instances": [{"user_id": MARKED}]})
    assert answer.status_code == 500
    assert any("RequestError" in line or type(error).__name__ in line or "refuses" in line for line in lines.text)


@pytest.mark.usefixtures("lines")
async def test_five_hundred_mutated_requests_of_all_kinds(url: str) -> None:
    setting, source = Setting(), random.Random(1)
    await setting.generations.refresh()
    intake = EventIntake(RedisStream(url, length=10_000), Specs(make_spec()))
    recall = service(setting, events_router(intake))
    seeds = [
        (PREDICT, b'{"instances": [{"user_id": %d, "k": 3, "profile": {"age": 3}}]}' % MARKED),
        (PATH, b'{"events": [{"event_id": "a", "user_id": %d, "item_id": 7, "event": "click"}]}' % MARKED),
        (PATH, b'{"user_id": "%d", "item_id": null, "event": "clack", "timestamp": 99999999999999999}' % MARKED),
    ]
    for _ in range(500):
        path, seed = source.choice(seeds)
        body = bytearray(seed)
        for _ in range(source.randrange(4)):
            at = source.randrange(len(body))
            body[at : at + source.randrange(3)] = source.choice((b"[", b'"', b"null", b"\xff", b"-1e999"))
        assert (await post(recall, path, bytes(body))).status_code < 500
    await intake.close()


async def test_redis_is_full_or_of_another_mind(url: str, lines: Lines) -> None:
    client = redis.Redis.from_url(url)
    client.set(recent_key(MARKED), MARK)
    intake = EventIntake(RedisStream(url, length=10_000), Specs(make_spec()))
    event = {"user_id": MARKED, "item_id": 7, "event": "click"}
    answer = await post(service(Setting(), events_router(intake)), PATH, event)
    assert (answer.status_code, MARK in answer.text) == (503, False)
    await intake.close()
    assert any("event stream" in line for line in lines.text)


@pytest.mark.usefixtures("lines")
def test_the_sink_meets_what_is_no_event(url: str, tmp_path: Path) -> None:
    spec = FeatureSpec(features=(Categorical(name="device", tower="user", source="context"),))
    rows = [{"user_id": 1, "item_id": 10, "event": "click", "timestamp": datetime(2026, 4, 1, tzinfo=UTC)}]
    made = write_dataset(
        tmp_path / "d", spec=spec, parts=[("date=2026-04-01", rows)], users=[{"user_id": 1}], items=[{"item_id": 10}]
    )
    client, sink = redis.Redis.from_url(url), Sink(url, str(made), slot_ms=1)
    for row in ({"user_id": f"u{MARK}"}, {"user_id": MARKED, "timestamp": MARK}, {"user_id": MARKED, "device": [MARK]}):
        client.xadd(STREAM, {"event": orjson.dumps(row)})
    client.xadd(STREAM, {"event": f"{{{MARK}"})
    while client.xlen(STREAM):
        sink.step()


@pytest.mark.parametrize("value", [f"{{{MARK}", f'[{{"row": {{"user_id": {MARK}}}}}]', f'[{{"{MARK}": 1}}]'])
def test_a_record_of_kafka_holds_no_events(lines: Lines, value: str) -> None:
    record = SimpleNamespace(topic="t", partition=0, offset=7, value=value.encode())
    assert kafka_stream._read(cast(Any, record)).accepted == []
    assert any("t/0 at 7: no events" in line for line in lines.text)


@pytest.mark.parametrize("error", [KeyError(MARKED), ValueError(MARK), redis.ResponseError(f"WRONGTYPE {MARK}")])
def test_a_workers_step_fails(lines: Lines, error: Exception) -> None:
    state = RetryCallState(cast(Any, None), None, (), {})
    state.set_exception((type(error), error, None))
    loop._complain("sink", state)
    assert any(type(error).__name__ in line for line in lines.text)
