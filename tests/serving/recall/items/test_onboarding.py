"""`GET /v1/onboarding` says what to show first, without what was removed, and by a role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.generations.manifest import Artifact
from pagoda.storage.checksums import checksum_file
from serving.recall.items.onboarding import Onboarding
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.users.keys import Key
from tests.serving.callers import HEADERS, tokens
from tests.serving.recall.setting import CANARY_SECONDS, Setting

PATH = "/v1/onboarding"


class Shop:
    """A service whose generation g3 shows 40 items first, 140 down to 101."""

    def __init__(self, folder: Path) -> None:
        self.file, self.removed = folder / "onboarding.parquet", set[Key]()
        pq.write_table(pa.table({"item_id": range(140, 100, -1)}), self.file)
        self.setting = Setting()
        self.setting.parts = replace(self.setting.parts, onboarding=Onboarding(self.removed))
        recall = Recall(
            self.setting.parts, self.setting.generations, self.setting.ledger, canary_seconds=CANARY_SECONDS
        )
        self.app = RecallServer(recall, self.setting.generations, tokens()).app

    async def open(self, checksum: str = "") -> None:
        """Let it serve."""
        onboarding = Artifact(uri=str(self.file), checksum=checksum or checksum_file(self.file))
        first, *others = self.setting.log.manifests
        self.setting.log.manifests = [first.model_copy(update={"onboarding": onboarding}), *others]
        await self.setting.follow()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(shop.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as made:
        yield made


async def test_it_says_as_many_as_are_asked_without_removed_ones(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.open()
    assert (await client.get(PATH)).json() == {"items": list(range(140, 120, -1)), "generation": "g3"}
    shop.removed |= {139, 140}
    assert (await client.get(PATH, params={"n": 3})).json()["items"] == [138, 137, 136]
    assert len((await client.get(PATH, params={"n": 100})).json()["items"]) == 38


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({"n": "0"}, "n: must be"), ({"n": "101"}, "n: must be"), ({"n": "x"}, "n: must be"), ({"m": "3"}, "m: unknown")],
)
async def test_what_cannot_be_asked_is_refused_by_name(
    shop: Shop, client: httpx.AsyncClient, parameters: dict[str, str], expected: str
) -> None:
    await shop.open()
    answer = await client.get(PATH, params=parameters)
    assert answer.status_code == 400 and answer.json()["error"].startswith(expected)


async def test_a_generation_without_such_items_says_what_makes_them(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.setting.follow()
    answer = await client.get(PATH)
    assert answer.status_code == 400 and "cold: {users: interests}" in answer.json()["error"]


async def test_a_damaged_file_costs_this_alone(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.open("xxh3:0")
    assert (await client.get(PATH)).status_code == 503
    assert (await client.post("/v1/models/recall:predict", json={"instances": [{"user_id": 5}]})).status_code == 200


async def test_it_takes_a_token_of_ask(shop: Shop, client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    assert page["paths"][PATH]["get"]["security"] == [{"token": ["ask"]}]
