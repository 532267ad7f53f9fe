"""A receipt's way: from an answer by way of the client's event into the stream, the files and the dataset."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.spec import FeatureSpec
from serving.events.intake import EventIntake
from serving.events.redis_stream import RedisStream
from serving.events.routes import PATH, events_router
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.receipts import Receipts
from serving.workers.event_files import by_day
from tests.redis_databases import database
from tests.serving.callers import HEADERS, tokens
from tests.serving.events.test_events import Specs, stream
from tests.serving.recall.setting import CANARY_SECONDS, Setting
from tests.serving.worlds import make_spec

pytestmark = pytest.mark.integration
SPEC = make_spec().model_copy(update={"receipts": True})
RECEIPTS = Receipts("k" * 32)
ITEMS = range(70, 80)
V1, V2 = "/v1/models/recall:predict", "/v2/models/recall/infer"


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 10)


@asynccontextmanager
async def service(
    url: str, spec: FeatureSpec, receipts: Receipts | None = RECEIPTS, filed: FeatureSpec | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Recall over stand-ins and events over a real Redis; `filed`: what events are checked against."""
    setting = Setting(spec)
    setting.index.ids = ITEMS
    recall = Recall(
        setting.parts, setting.generations, setting.ledger, canary_seconds=CANARY_SECONDS, receipts=receipts
    )
    await setting.follow()
    intake = EventIntake(RedisStream(url, length=50), Specs(filed or spec), receipts=receipts)
    app = RecallServer(recall, setting.generations, tokens(), [events_router(intake)]).app
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://recall", headers=HEADERS
    ) as client:
        yield client
    await recall.close()
    await intake.close()


async def ask(client: httpx.AsyncClient, user: int = 5, k: int = 3) -> dict[str, Any]:
    answer = await client.post(V1, json={"instances": [{"user_id": user, "k": k}]})
    found: dict[str, Any] = answer.raise_for_status().json()["predictions"][0]
    return found


async def test_what_showed_an_item_reaches_the_dataset(url: str) -> None:
    async with service(url, SPEC) as client:
        given = await ask(client)
        click = {"user_id": 5, "item_id": given["items"][1]["item_id"], "event": "click", "receipt": given["receipt"]}
        for event in (click, {**click, "item_id": 99, "receipt": None}):
            taken = await client.post(PATH, json=event)
            assert taken.status_code == 200, taken.text
    told, without = stream(url)
    assert {name: told[name] for name in ("arm", "generation", "position")} == {
        "arm": "stable",
        "generation": "g3",
        "position": 1,
    }
    assert "receipt" not in told and "arm" not in without
    files, refused = by_day([orjson.dumps(row) for row in (told, without)], SPEC)
    (content,) = files.values()
    rows = {row["item_id"]: row for row in pq.read_table(pa.BufferReader(content)).to_pylist()}
    assert refused == []
    assert (rows[told["item_id"]]["position"], rows[99]["position"], rows[99]["arm"]) == (1, None, None)


async def test_v2_answers_have_receipts_too(url: str) -> None:
    inputs = [{"name": "user_id", "datatype": "INT64", "shape": [2], "data": [5, 6]}]
    async with service(url, SPEC) as client:
        outputs = (await client.post(V2, json={"inputs": inputs})).raise_for_status().json()["outputs"]
    by_name = {one["name"]: one["data"] for one in outputs}
    items = iter(by_name["item_id"])
    for user, receipt, count in zip((5, 6), by_name["receipt"], by_name["count"], strict=True):
        assert [RECEIPTS.read(receipt, user, next(items)).position for _ in range(count)] == list(range(count))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"receipt": "AAAA"}, "receipt: was not given with an answer to this user"),
        ({"receipt": "a b"}, "receipt: "),
        ({"receipt": ""}, "receipt: "),
        ({"receipt": "A" * 20_000}, "receipt: "),
        ({"receipt": 7}, "receipt: "),
        ({"user_id": 6}, "receipt: was not given with an answer to this user"),
        ({"item_id": 9_999}, "receipt: is of an answer without item 9999"),
    ],
)
async def test_a_wrong_receipt_is_named_and_nothing_is_taken(url: str, change: dict[str, Any], said: str) -> None:
    async with service(url, SPEC) as client:
        given = await ask(client)
        item = given["items"][0]["item_id"]
        click = {"user_id": 5, "item_id": item, "event": "click", "receipt": given["receipt"]}
        alone = await client.post(PATH, json={**click, **change})
        assert (alone.status_code, alone.json()["error"][: len(said)]) == (400, said)
        batch = await client.post(PATH, json={"events": [click, {**click, **change}]})
        assert (batch.status_code, batch.json()["error"].startswith(f"events.1.{said}")) == (400, True)
    assert stream(url) == []


async def test_without_the_declaration_answers_have_none_and_events_of_before_a_rollback_are_taken(url: str) -> None:
    async with service(url, SPEC) as client:
        before = await ask(client)
    async with service(url, make_spec()) as client:
        assert "receipt" not in await ask(client)
        click = {"user_id": 5, "item_id": before["items"][0]["item_id"], "event": "click"}
        (await client.post(PATH, json={**click, "receipt": before["receipt"]})).raise_for_status()
    (row,) = stream(url)
    assert not {"arm", "position", "receipt"} & row.keys()


async def test_without_a_key_nobody_gives_or_takes_receipts(url: str) -> None:
    async with service(url, SPEC, receipts=None) as client:
        given = await ask(client)
        assert "receipt" not in given
        click = {"user_id": 5, "item_id": given["items"][0]["item_id"], "event": "click"}
        (await client.post(PATH, json=click)).raise_for_status()
        refused = await client.post(PATH, json={**click, "receipt": "AAAA"})
    assert (refused.status_code, "registry.signing_key" in refused.json()["error"]) == (400, True)
