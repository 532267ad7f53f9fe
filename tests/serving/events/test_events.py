"""Events on a real Redis: taken once, all or none, seen by the user's next answer, never lost silently."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from pagoda.data.spec import FeatureSpec, History, PastText, Text
from pagoda.errors import UnavailableError
from serving.events.bodies import SentEvent
from serving.events.intake import EventIntake
from serving.events.redis_stream import USUAL_ROOM, RedisStream, Room
from serving.events.routes import PATH, events_router
from serving.events.rules import USUAL_TIMES, Accepted, EventRules
from serving.http.fields import PastItems
from serving.recall.server import RecallServer
from serving.users.keys import RECENT_LENGTH, STREAM
from serving.users.online_store import OnlineStore, StoredUser
from serving.workers.event_files import by_day
from tests.redis_databases import database
from tests.serving.callers import HEADERS, tokens
from tests.serving.recall.setting import Setting
from tests.serving.torchserve import free_port
from tests.serving.worlds import LENGTH, make_spec

pytestmark = pytest.mark.integration
NOW_US = time.time_ns() // 1000
CLICK = {"event_id": "e1", "user_id": 5, "item_id": 7, "event": "click", "timestamp": NOW_US}
DAY_US = 86_400_000_000


class Specs:
    """A declaration, or none yet."""

    def __init__(self, spec: FeatureSpec | None) -> None:
        self.given = spec

    async def spec(self) -> FeatureSpec:
        if self.given is None:
            raise UnavailableError("events: no generation")
        return self.given


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 10)


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application; the stream takes 50 events."""
    async with Application(url, Specs(make_spec())) as made:
        yield made


class Application:
    """The application over a Redis and a declaration."""

    def __init__(self, url: str, specs: Specs, stream_length: int = 50, room: Room = USUAL_ROOM) -> None:
        self._intake = EventIntake(RedisStream(url, length=stream_length, room=room), specs)

    async def __aenter__(self) -> httpx.AsyncClient:
        setting = Setting()
        app = RecallServer(setting.recall, setting.generations, tokens(), [events_router(self._intake)]).app
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://recall", headers=HEADERS)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._intake.close()


def stream(url: str) -> list[dict[str, Any]]:
    """The rows that wait for the sink."""
    return [orjson.loads(fields[b"event"]) for _, fields in redis.Redis.from_url(url).xrange(STREAM)]


async def stored(url: str, user: int | str, spec: FeatureSpec | None = None) -> StoredUser:
    """What the next answer of a user is made from."""
    store = OnlineStore(url)
    (found,) = await store.read([(user, True)], spec or make_spec())
    await store.close()
    return found


async def test_a_click_is_in_the_stream_and_in_the_next_answer(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.post(PATH, json={**CLICK, "context": {"device": "tv"}})
    assert (answer.status_code, answer.json()) == (200, {"event_ids": ["e1"], "taken": 1, "duplicates": 0})
    assert stream(url) == [{**CLICK, "device": "tv"}]
    user = await stored(url, 5)
    assert user.recent.rows() == [{"item_id": 7, "timestamp": NOW_US}]
    assert user.seen == (7,)


async def test_the_next_answer_is_told_which_event_it_was_where_histories_say_it(url: str) -> None:
    history = History(length=LENGTH, events=("click", "like"), embed_event=True)
    spec = make_spec().model_copy(update={"history": history})
    async with Application(url, Specs(spec)) as client:
        await client.post(PATH, json={**CLICK, "event": "like"})
        await client.post(PATH, json={**CLICK, "event_id": "e2", "item_id": 8, "timestamp": NOW_US - 1})
    assert (await stored(url, 5, spec)).recent == PastItems((8, 7), (NOW_US - 1, NOW_US), ("click", "like"))


def test_a_record_says_what_its_event_was_only_where_histories_do() -> None:
    told = Accepted({"event": "like", "item_id": 7, "timestamp": 5}, enters=True, positive=True, tells_event=True)
    plain = replace(told, tells_event=False)
    assert [Accepted(**one.record()) for one in (told, plain)] == [told, plain]
    assert (told.recent, plain.recent) == ("5@like:7", "5:7")
    assert "tells_event" not in plain.record()


def test_a_record_has_no_more_of_a_text_than_counts_beside_its_row() -> None:
    query = Text(name="query", tower="user", source="context")
    spec = FeatureSpec(features=(query, PastText(name="searches", of="query")))
    sent = SentEvent(user_id=5, item_id=7, event="click", timestamp=NOW_US, context={"query": "x" * 10_000})
    taken = EventRules(spec, USUAL_TIMES).accept(sent, "", NOW_US)
    assert taken.row["query"] == "x" * 10_000
    assert len(orjson.dumps(taken.record())) < 10_500
    assert taken.recent == f"{NOW_US}@@{'x' * 200}:7"


async def test_strings_stay_strings(url: str) -> None:
    event = {"user_id": "ann:1", "item_id": "mug:ö", "event": "click"}
    async with Application(url, Specs(make_spec("string"))) as client:
        assert (await client.post(PATH, json=event)).status_code == 200
        assert (await client.post(PATH, json=CLICK)).json()["error"].startswith("user_id: must be a string")
    user = await stored(url, "ann:1", make_spec("string"))
    assert user.recent.ids == ("mug:ö",)
    assert user.seen == ("mug:ö",)


async def test_an_event_without_id_and_time_gets_both(client: httpx.AsyncClient, url: str) -> None:
    before = time.time_ns() // 1000
    (made,) = (await client.post(PATH, json={"user_id": 5, "item_id": 7, "event": "click"})).json()["event_ids"]
    (row,) = stream(url)
    assert row["event_id"] == made
    assert before <= row["timestamp"] <= time.time_ns() // 1000


async def test_what_comes_again_is_taken_once(client: httpx.AsyncClient, url: str) -> None:
    batch = {"events": [CLICK, {**CLICK, "event_id": "e2"}, CLICK]}
    assert (await client.post(PATH, json=batch)).json() == {
        "event_ids": ["e1", "e2", "e1"],
        "taken": 2,
        "duplicates": 1,
    }
    assert (await client.post(PATH, json=batch)).json()["duplicates"] == 3
    assert len(stream(url)) == 2
    assert len((await stored(url, 5)).recent.ids) == 2


async def test_only_what_the_declaration_says_enters_history(client: httpx.AsyncClient, url: str) -> None:
    for number, event in enumerate(("impression", "like", "click")):
        await client.post(PATH, json={**CLICK, "event_id": str(number), "item_id": number, "event": event})
    user = await stored(url, 5)
    assert user.recent.ids == (2,)
    assert user.seen == (2,)
    assert len(stream(url)) == 3


async def test_late_events_go_to_their_place_and_what_is_kept_is_bounded(url: str) -> None:
    moments = [*range(0, 3 * RECENT_LENGTH, 3), 100, 1, 4000]  # microseconds
    async with Application(url, Specs(make_spec()), stream_length=10_000) as client:
        events = [
            {"user_id": 5, "item_id": moment, "event": "click", "timestamp": NOW_US + moment} for moment in moments
        ]
        for start in range(0, len(events), 150):
            await client.post(PATH, json={"events": events[start : start + 150]})
    kept = redis.Redis.from_url(url).lrange("recent:5", 0, -1)
    assert [int(entry.split(b":")[1]) for entry in kept] == sorted(moments)[-RECENT_LENGTH:]
    assert list((await stored(url, 5)).recent.ids) == sorted(moments)[-LENGTH:]


async def test_what_an_event_weighs_is_filed_with_it(url: str) -> None:
    spec = make_spec().model_copy(update={"positive_weight": "dwell"})
    async with Application(url, Specs(spec)) as client:
        assert (await client.post(PATH, json={**CLICK, "context": {"dwell": 12}})).status_code == 200
        for wrong in (-1, "long", True, 1e31):
            refused = await client.post(PATH, json={**CLICK, "event_id": "e2", "context": {"dwell": wrong}})
            assert refused.status_code == 400
            assert refused.json()["error"].startswith("context.dwell: must be a number from 0 to 1e+30")
    (row,) = stream(url)
    files, unfit = by_day([orjson.dumps(row)], spec)
    (content,) = files.values()
    assert (pq.read_table(pa.BufferReader(content))["dwell"].to_pylist(), unfit) == ([12.0], [])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"user_id": "ann"}, "user_id: must be an integer"),
        ({"item_id": None}, "item_id: must be an integer of 64 bits or a string"),
        ({"event": "clik"}, "event: must be one of"),
        ({"timestamp": "yesterday"}, "timestamp: must be ISO 8601"),
        ({"timestamp": 4_000_000_000_000_000}, "timestamp: lies in the future"),
        ({"timestamp": NOW_US - 31 * DAY_US}, "timestamp: lies more than 30 days back"),
        ({"timestamp": 0}, "timestamp: lies more than 30 days back"),
        ({"context": {"colour": 1}}, "context.colour: unknown field"),
        ({"context": {"device": [1]}}, "context.device: "),
        ({"event_id": ""}, "event_id: "),
        ({"event_id": "a b"}, "event_id: "),
        ({"score": 1}, "score: unknown field"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_taken(
    client: httpx.AsyncClient, url: str, change: dict[str, Any], named: str
) -> None:
    alone = await client.post(PATH, json={**CLICK, **change})
    assert (alone.status_code, alone.json()["error"][: len(named)]) == (400, named)
    batch = await client.post(PATH, json={"events": [{**CLICK, "event_id": "good"}, {**CLICK, **change}]})
    assert batch.status_code == 400
    assert batch.json()["error"].startswith("events.1.")
    assert stream(url) == []


async def test_a_full_stream_says_so_and_takes_nothing_of_a_batch(client: httpx.AsyncClient, url: str) -> None:
    batch = [{**CLICK, "event_id": str(number)} for number in range(48)]
    assert (await client.post(PATH, json={"events": batch})).status_code == 200
    more = [{**CLICK, "event_id": f"more{number}"} for number in range(3)]
    refused = await client.post(PATH, json={"events": more})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert len(stream(url)) == 48
    redis.Redis.from_url(url).xtrim(STREAM, maxlen=10, approximate=False)
    assert (await client.post(PATH, json={"events": more})).json()["taken"] == 3


async def test_a_dead_store_or_no_generation_is_told(url: str) -> None:
    async with Application(f"redis://127.0.0.1:{free_port()}/0", Specs(make_spec())) as client:
        assert (await client.post(PATH, json=CLICK)).status_code == 503
    async with Application(url, Specs(None)) as client:
        assert (await client.post(PATH, json=CLICK)).status_code == 503


async def test_many_clients_at_once_lose_nothing(url: str) -> None:
    async with Application(url, Specs(make_spec()), stream_length=10_000) as client:

        async def send(number: int) -> None:
            event = {**CLICK, "event_id": str(number % 50), "user_id": number % 7}
            while not (await client.post(PATH, json=event)).is_success:
                await asyncio.sleep(0.1)  # a busy machine sheds; clients send again

        await asyncio.gather(*(send(number) for number in range(100)))
    assert sorted(row["event_id"] for row in stream(url)) == sorted(str(number) for number in range(50))


async def test_the_page_describes_events(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    assert page["components"]["schemas"]["SentEvent"]["required"] == ["user_id", "item_id", "event"]
    assert {"400", "413", "503"} <= page["paths"][PATH]["post"]["responses"].keys()
    assert "pagoda_events_total" in (await client.get("/metrics")).text
