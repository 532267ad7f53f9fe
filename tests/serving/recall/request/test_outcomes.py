"""From answers and clicks over HTTP to what the gates look at, through a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from prometheus_client import REGISTRY

from pagoda.config.training import parse_config
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Mixture
from pagoda.rollout.measures.base import Measures
from pagoda.rollout.measures.outcome_stream import StreamMetrics
from pagoda.rollout.measures.outcomes import ROW, STREAM, Flag, OutcomeBatch
from pagoda.rollout.online_gates import ClickGate, ClickWeights, OnlineGates, OutcomeGate
from serving.events.intake import EventIntake
from serving.events.redis_stream import RedisStream
from serving.events.routes import events_router
from serving.events.rules import Accepted
from serving.recall.request.outcomes import MOST_PENDING, OutcomeWriter
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.receipts import Receipts
from tests.redis_databases import database
from tests.serving.callers import HEADERS, tokens
from tests.serving.events.test_events import Specs
from tests.serving.recall.setting import CANARY_SECONDS, Setting
from tests.serving.torchserve import free_port
from tests.serving.worlds import make_spec

pytestmark = pytest.mark.integration
PREDICT = "/v1/models/recall:predict"
USERS = range(200)
USUAL = OnlineGates()
PLAIN = {b"rollout", b"percent", b"mirrored", b"rows"}
SPEC = make_spec().model_copy(update={"receipts": True, "events": ("hide",), "positive_weight": "dwell_seconds"})
GATES = OnlineGates(
    outcomes=(
        OutcomeGate(event="purchase"),
        OutcomeGate(event="hide", worse="higher"),
        OutcomeGate(column="dwell_seconds", cap=60),
    )
)
RECEIPTS = Receipts("k" * 32)


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 12)


class Service:
    """Recall and events over stand-ins, with real outcomes."""

    def __init__(self, url: str) -> None:
        self.url, self.setting = url, Setting(SPEC)
        self.setting.index.ids = (70, 71)
        self.outcomes = OutcomeWriter(url, 1 << 24)
        self.recall = Recall(
            self.setting.parts,
            self.setting.generations,
            self.outcomes,
            canary_seconds=CANARY_SECONDS,
            receipts=RECEIPTS,
        )
        self.began = datetime.now(UTC)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Of the application."""
        await self.setting.follow()
        stream = RedisStream(self.url, length=10_000, taken=self.recall.note)
        intake = EventIntake(stream, Specs(SPEC), receipts=RECEIPTS)
        app = RecallServer(self.recall, self.setting.generations, tokens(), [events_router(intake)]).app
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://recall", headers=HEADERS
        ) as made:
            yield made
        await self.recall.close()
        await self.outcomes.flush()
        await self.outcomes.close()
        await intake.close()

    def measure(self, gates: OnlineGates = USUAL, channels: tuple[str, ...] = ()) -> Measures:
        """As a driver would, some seconds later."""
        later = datetime.now(UTC) + timedelta(seconds=30)
        return StreamMetrics(self.url).measure("r7", self.began, later, None, gates, channels=channels)


async def answer(client: httpx.AsyncClient, users: list[int], k: int = 2, **headers: str) -> list[dict[str, Any]]:
    """Ask once for several users."""
    instances = [{"user_id": user, "k": k} for user in users]
    given = await client.post(PREDICT, json={"instances": instances}, headers=headers)
    found: list[dict[str, Any]] = given.raise_for_status().json()["predictions"]
    return found


async def click(client: httpx.AsyncClient, user: int, event: str = "click") -> None:
    body = {"user_id": user, "item_id": 3, "event": event}
    (await client.post("/v1/events", json=body)).raise_for_status()


async def test_answers_and_clicks_are_measured_by_arm_and_user(url: str) -> None:
    service = Service(url)
    service.setting.log.try_out(30)
    async with service.client() as client:
        arms = {user: (await answer(client, [user]))[0]["arm"] for user in USERS}
        for user in USERS[:60]:
            await click(client, user)
            await click(client, user)
        await click(client, 100, "impression")
        await click(client, 5000)
        await answer(client, [7], **{"x-pagoda-arm": "canary"})
        await answer(client, [8, 9], k=50)
        refused = await client.post(PREDICT, json={"instances": [{"user_id": 1}]}, headers={"x-pagoda-arm": "blue"})
        assert refused.status_code == 400 and "x-pagoda-arm" in refused.json()["error"]
    found = service.measure()
    short = {arms[8], arms[9]}
    for arm in ("stable", "canary"):
        members = [user for user in USERS if arms[user] == arm]
        again = [user for user in (8, 9) if arms[user] == arm]
        assert found[arm].requests.count == len(members) + (arm in short)
        assert found[arm].requests.errors.sum() == 0
        assert (found[arm].clicks.users, found[arm].clicks.n) == (len(members), len(members) + len(again))
        assert found[arm].clicks.y == sum(user < 60 for user in members)
        assert found[arm].short_answers.y == len(again)
        assert found[arm].fallbacks.y == 0


async def test_a_failing_canary_is_seen_and_no_request_fails(url: str) -> None:
    async def fail(generation: str) -> None:
        if generation == "g4":
            raise UnavailableError("tower down")

    service = Service(url)
    service.setting.log.try_out(50)
    async with service.client() as client:
        service.setting.tower.wait = fail
        for user in USERS:
            (prediction,) = await answer(client, [user])
            assert prediction["generation"] == "g3"
        text = (await client.get("/metrics")).text
    stable, canary = (service.measure()[arm].requests for arm in ("stable", "canary"))
    assert stable.count + canary.count == len(USERS)
    assert (int(stable.errors.sum()), int(canary.errors.sum())) == (0, canary.count)
    assert 70 < canary.count < 130
    for series in (
        'pagoda_recall_arm_errors_total{arm="canary",generation="g4",reason="failed"}',
        'pagoda_recall_arm_fallbacks_total{arm="canary",generation="g4"}',
        'pagoda_recall_arm_seconds_count{arm="stable",generation="g3"}',
        'pagoda_recall_arm_share{arm="canary",generation="g4"} 0.5',
    ):
        assert series in text


async def test_the_stable_arm_is_measured_before_anybody_is_in_the_canary(url: str) -> None:
    service = Service(url)
    service.setting.log.try_out(0)
    async with service.client() as client:
        await answer(client, [1])
    assert service.measure()["stable"].requests.count == 1


async def test_without_a_rollout_nothing_is_written(url: str) -> None:
    service = Service(url)
    async with service.client() as client:
        await answer(client, [1])
        await click(client, 1)
    assert not redis.Redis.from_url(url).exists(STREAM)


def dropped() -> float:
    return REGISTRY.get_sample_value("pagoda_recall_outcomes_total", {"outcome": "dropped"}) or 0.0


async def test_without_redis_requests_are_answered_and_outcomes_dropped() -> None:
    service, before = Service(f"redis://127.0.0.1:{free_port()}"), dropped()
    service.setting.log.try_out(50)
    async with service.client() as client:
        for user in USERS:
            await answer(client, [user])
    assert dropped() - before == len(USERS)


async def test_rows_that_wait_are_bounded(url: str) -> None:
    service, before = Service(url), dropped()
    service.setting.log.try_out(50)
    async with service.client():
        split = service.setting.generations.require().split
        one = Accepted({"user_id": 1, "item_id": 2, "event": "click"}, enters=True, positive=True)
        service.outcomes.note(split, [one] * MOST_PENDING)
        service.outcomes.note(split, [one] * 10)
    assert dropped() - before == 10


async def test_the_outcomes_of_the_policy_are_measured_by_arm_and_user(url: str) -> None:
    service = Service(url)
    service.setting.log.try_out(50, online=GATES)
    async with service.client() as client:
        arms = {user: (await answer(client, [user]))[0]["arm"] for user in USERS[:40]}
        for user in USERS[:40]:
            event = {"user_id": user, "item_id": 3, "event": ("purchase", "hide", "click", "like")[user % 4]}
            await client.post("/v1/events", json={**event, "context": {"dwell_seconds": 30 + 60 * (user < 20)}})
    found = service.measure(GATES)
    for arm in ("stable", "canary"):
        members = [user for user in USERS[:40] if arms[user] == arm]
        purchases, hides, dwell = found[arm].outcomes
        assert purchases.y == sum(user % 4 == 0 for user in members)
        assert hides.y == sum(user % 4 == 1 for user in members)
        assert dwell.y == sum(0.5 + 0.5 * (user < 20) for user in members), "in units of the cap"
        assert found[arm].clicks.y == sum(user % 4 == 2 for user in members)
        assert {one.n for one in (purchases, hides, dwell)} == {len(members)}


async def test_an_event_that_is_sent_again_counts_once(url: str) -> None:
    """Whoever got no answer sends it again: clicks that weigh, and columns, would add up to the cap."""
    service = Service(url)
    weighed = GATES.model_copy(update={"clicks": ClickGate(weights=ClickWeights(examination=2))})
    service.setting.log.try_out(50, online=weighed)
    async with service.client() as client:
        for user in USERS[:20]:
            (given,) = await answer(client, [user])
            item = given["items"][1]["item_id"]
            event = {"user_id": user, "item_id": item, "event": "click", "receipt": given["receipt"]}
            event |= {"event_id": f"e{user}", "context": {"dwell_seconds": 15}}
            for sent in (event, [event, event]):
                body = sent if isinstance(sent, dict) else {"events": sent}
                (await client.post("/v1/events", json=body)).raise_for_status()
    found = service.measure(weighed).values()
    assert sum(one.clicks.y for one in found) == 20 * 2**2
    assert sum(one.outcomes[2].y for one in found) == pytest.approx(20 * 2**2 * 15 / 60)


async def test_what_no_gate_looks_at_is_not_written(url: str) -> None:
    service = Service(url)
    service.setting.log.try_out(50)
    async with service.client() as client:
        await answer(client, [1])
        for event in ("purchase", "hide", "click"):
            await click(client, 1, event)
    entries = redis.Redis.from_url(url).xrange(STREAM)
    assert entries and all(set(fields) == PLAIN for _, fields in entries)
    assert sum(len(fields[b"rows"]) for _, fields in entries) == 2 * ROW.itemsize


def by_channel(arm: str, generation: str) -> list[float]:
    """What metrics say of the towers' items and candidates."""
    labels = {"arm": arm, "generation": generation, "channel": "two_tower"}
    names = ("pagoda_recall_channel_items_total", "pagoda_recall_channel_candidates_total")
    return [REGISTRY.get_sample_value(name, labels) or 0.0 for name in names]


async def test_what_channels_give_is_measured_where_both_arms_declare_them(url: str) -> None:
    service = Service(url)
    config = parse_config("channels: [{kind: two_tower, share: 0.6}, {kind: popular, share: 0.4}]")
    mixture = Mixture(channels=config.channels, merging=config.merging, tables={})
    manifests = service.setting.log.manifests
    service.setting.log.manifests = [one.model_copy(update={"mixture": mixture}) for one in manifests]
    service.setting.log.try_out(50)
    async with service.client() as client:
        before = {arm: by_channel(arm, id_) for arm, id_ in (("stable", "g3"), ("canary", "g4"))}
        for user in USERS[:40]:
            await answer(client, [user], k=4)
    for arm, generation in (("stable", "g3"), ("canary", "g4")):
        found = service.measure(channels=("popular", "two_tower"))[arm]
        towers, popular = found.channels["two_tower"], found.channels["popular"]
        answers = found.clicks.n
        assert answers > 10
        assert (towers.items.n, towers.items.y, towers.candidates.y) == (answers, answers, answers / 2)
        assert (popular.items.n, popular.items.y, popular.candidates.y) == (answers, 0, 0), "its table is not there"
        given = np.subtract(by_channel(arm, generation), before[arm])
        assert given.tolist() == [2 * answers, 2 * answers]


async def test_the_stream_keeps_within_its_size_whatever_entries_say(url: str) -> None:
    most, outcomes, connection = 40_000, OutcomeWriter(url, 40_000), redis.Redis.from_url(url)
    rows = np.zeros(200, ROW)
    rows["flags"] = Flag.ANSWERED
    parts = np.ones((len(rows), 4, 2), np.float16)
    names = ("category", "fresh", "popular", "two_tower")
    for _ in range(20):
        await outcomes._write(OutcomeBatch("r7", 10, False, rows, channels=names, mixtures=parts))
    await outcomes.close()
    kept = sum(len(fields[b"rows"]) + len(fields[b"mixtures"]) for _, fields in connection.xrange(STREAM))
    assert most / 2 < kept <= most


async def test_clicks_weigh_by_the_place_that_their_receipt_says(url: str) -> None:
    service = Service(url)
    service.setting.log.try_out(50)
    async with service.client() as client:
        for user in USERS[:20]:
            (given,) = await answer(client, [user])
            event = {"user_id": user, "item_id": given["items"][1]["item_id"], "event": "click"}
            if user % 2:  # The others' clicks say no place.
                event["receipt"] = given["receipt"]
            (await client.post("/v1/events", json=event)).raise_for_status()
    plain, weighed = (
        service.measure(),
        service.measure(OnlineGates(clicks=ClickGate(weights=ClickWeights(examination=2)))),
    )
    assert sum(one.clicks.y for one in plain.values()) == 20
    assert sum(one.clicks.y for one in weighed.values()) == 10 * 2**2
    assert [one.clicks.n for one in plain.values()] == [one.clicks.n for one in weighed.values()]
