"""Items like an item or several, of a collection and a table that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pagoda.data.spec import Rules
from pagoda.errors import UnavailableError
from pagoda.generations.arms import Arms
from pagoda.generations.manifest import Manifest
from pagoda.index.in_process.search import FolderSearch
from serving.recall.channels.tables import TableChannels
from serving.recall.generations.generation import LiveGeneration
from serving.recall.items.item_values import ItemValues
from serving.recall.server import RecallServer
from serving.recall.servers.batching import JoinedIndex
from serving.recall.similar.bodies import SimilarInstance
from serving.recall.similar.routes import PATH, similar_router
from serving.recall.similar.service import SimilarService
from tests.item_vectors.worlds import items_table
from tests.serving.callers import HEADERS, tokens
from tests.serving.recall.channels.mixtures import ITEMS, VECTORS, make_generation
from tests.serving.recall.setting import Setting
from tests.serving.worlds import make_spec

KIND_0 = {row["item_id"] for row in items_table(ITEMS).to_pylist() if row["kind"] == "kind 0"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A generation with its tables and its collection."""
    return make_generation(tmp_path_factory.mktemp("generation"))


class Similar(Setting):
    """A service whose stable generation has channels, and whose canary has none."""

    def __init__(self, made: Manifest) -> None:
        super().__init__(made.spec)
        self.log.manifests = [made, made.model_copy(update={"id": "g4", "full_version": 4, "mixture": None})]
        self.tables, self.items = (
            TableChannels(),
            JoinedIndex(FolderSearch(Path(made.item_vectors.uri).parent / "index")),
        )
        service = SimilarService(self.generations, self.items, self.tables, ItemValues({}))
        app = RecallServer(self.recall, self.generations, tokens(), [similar_router(service)]).app
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://recall", headers=HEADERS)

    async def warm(self, generation: LiveGeneration) -> None:
        await self.tables.warm(generation)

    async def send(self, headers: dict[str, str] | None = None, **instance: Any) -> httpx.Response:
        return await self.http.post(PATH, json={"instances": [instance]}, headers=headers)

    async def ask(self, *item_ids: int, **instance: Any) -> dict[str, Any]:
        answer = await self.send(item_ids=item_ids, **instance)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["predictions"][0]
        return found


@pytest.fixture
async def caller(made: Manifest) -> AsyncIterator[Similar]:
    setting = Similar(made)
    await setting.follow()
    async with setting.http:
        yield setting


def _ids(answer: dict[str, Any]) -> list[int]:
    return [item["item_id"] for item in answer["items"]]


def _nearest(*items: int) -> list[int]:
    """By the cosine with the mean, without the items themselves."""
    products = VECTORS @ VECTORS[list(items)].sum(axis=0)
    return [item for item in np.argsort(-products).tolist() if item not in items]


async def test_by_vector_they_are_the_nearest_to_the_mean_without_the_items_themselves(caller: Similar) -> None:
    for items in ((7,), (7, 30, 12)):
        answer = await caller.ask(*items, k=5)
        assert _ids(answer) == _nearest(*items)[:5]
        assert (answer["generation"], answer["arm"], answer["unknown"]) == ("g3", "stable", [])
    scores = [item["score"] for item in (await caller.ask(7, k=5))["items"]]
    assert scores == pytest.approx((VECTORS @ VECTORS[7])[_nearest(7)[:5]].tolist(), abs=1e-5)


@pytest.mark.parametrize("by", ["vector", "behaviour"])
async def test_filters_hold(caller: Similar, by: str) -> None:
    answer = await caller.ask(21, by=by, filter={"kind": "kind 0"})
    assert answer["items"] and set(_ids(answer)) <= KIND_0


async def test_by_behaviour_they_are_what_the_same_users_chose(caller: Similar) -> None:
    answer = await caller.ask(21, by="behaviour")
    assert _ids(answer) == [40]
    assert set(_ids(await caller.ask(40, by="behaviour"))) == set(range(21, 31))
    # Two of ten are asked about, so the others are found by item 40 alone.
    assert set(_ids(await caller.ask(40, 25, by="behaviour"))) == set(range(21, 31)) - {25}


@pytest.mark.parametrize(("by", "expected"), [("vector", _nearest(21)[:3]), ("behaviour", [40])])
async def test_unknown_items_are_named_and_the_others_answered(caller: Similar, by: str, expected: list[int]) -> None:
    answer = await caller.ask(12345, 21, by=by, k=3)
    assert (answer["unknown"], _ids(answer)) == ([12345], expected)
    nothing = await caller.ask(12345, by=by)
    assert (nothing["unknown"], nothing["items"]) == ([12345], [])


async def test_the_arm_of_the_user_who_is_shown_them_answers(caller: Similar) -> None:
    caller.log.try_out(50)
    await caller.follow()
    assert (await caller.ask(7))["arm"] == "stable"
    choose = caller.generations.require().choose
    user = next(user for user in range(100) if choose(user, None)[0] == "canary")
    mine = await caller.ask(7, user_id=user)
    assert (mine["arm"], mine["generation"]) == ("canary", "g4")
    tried = (await caller.send({"x-pagoda-arm": "canary"}, item_ids=[7])).json()["predictions"][0]
    assert tried["generation"] == "g4"
    # It has no such channel, and nobody but the canary may suffer from that.
    assert (await caller.ask(21, user_id=user, by="behaviour"))["arm"] == "stable"


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"item_ids": []}, "item_ids"),
        ({"item_ids": [7, 7]}, "each one once"),
        ({"item_ids": ["seven"]}, "instances.0.item_ids: must be an integer"),
        ({"item_ids": [7], "by": "looks"}, "instances.0.by"),
        ({"item_ids": [7], "filter": {"colour": "red"}}, "instances.0.filter"),
        ({"item_ids": [7], "fields": ["colour"]}, "instances.0.fields"),
        ({"item_ids": [7], "exclude_seen": True}, "exclude_seen"),
    ],
)
async def test_what_is_wrong_is_named(caller: Similar, instance: dict[str, Any], message: str) -> None:
    answer = await caller.send(**instance)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


async def test_a_generation_without_the_channel_says_so(caller: Similar) -> None:
    caller.log.arms = Arms(stable="g4")
    await caller.follow()
    answer = await caller.send(item_ids=[21], by="behaviour")
    assert answer.status_code == 400
    assert "instances.0.by: generation g4 has no channel item_to_item" in answer.json()["error"]


async def test_an_index_that_does_not_answer_is_said(caller: Similar, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: Any) -> None:
        raise UnavailableError("gone", part="index")

    monkeypatch.setattr(caller.items, "vectors", gone)
    answer = await caller.send(item_ids=[21])
    assert (answer.status_code, answer.json()["error"]) == (503, "index: not available now; try again later")


async def test_fields_that_a_generation_lacks_are_said_to_be_missing(caller: Similar) -> None:
    assert (await caller.ask(21, fields=["kind"], k=2))["degraded"] == ["fields_missing"]
    assert (await caller.ask(21, k=2))["degraded"] == []


async def test_who_may_not_ask_is_refused(caller: Similar) -> None:
    answer = await caller.http.post(PATH, json={"instances": [{"item_ids": [7]}]}, headers={"authorization": ""})
    assert answer.status_code == 401


async def test_weights_of_items_say_nothing_of_what_they_are_like_and_popularity_counts_for_nothing() -> None:
    setting = Setting(make_spec().model_copy(update={"rules": Rules(popularity=True, penalty=0.3)}))
    await setting.follow()
    setting.index.held = {1: [4.0, 0.0, 0.7], 2: [0.0, 0.1, -0.2]}
    service = SimilarService(setting.generations, setting.index, TableChannels(), ItemValues({}))
    await service.answer([SimilarInstance(item_ids=(1, 2))])
    assert setting.index.queries[-1] == pytest.approx([0.5**0.5, 0.5**0.5, 0])
