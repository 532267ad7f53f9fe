"""A click changes the same user's next answer: real Redis, TorchServe and Milvus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pagoda.index.milvus.collections import MilvusCollections
from serving.tower.archive import archive_name
from tests.redis_databases import database
from tests.serving.callers import HEADERS
from tests.serving.installation import Installation, install, recall_service
from tests.serving.torchserve import RunningTower

pytestmark = pytest.mark.integration
VERSION = 21


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, tower: RunningTower, milvus_uri: str, redis_url: str
) -> Iterator[Installation]:
    """A released generation."""
    folder, url = tmp_path_factory.mktemp("clicks"), database(redis_url, 11)
    made = install(folder, tower.tables, milvus_uri, url, version=VERSION, id_type="string")
    with tower.models() as models:
        models.ensure(VERSION, made.home / "archives" / archive_name(VERSION))
        yield made
        models.retire(VERSION)
    collections = MilvusCollections(milvus_uri)
    collections.drop(made.manifest.collection)
    collections.close()


def test_a_click_changes_the_next_answer(installation: Installation, tower: RunningTower) -> None:
    world = installation.world
    asked = {"instances": [{"user_id": world.user(7), "k": 10, "exclude_seen": True}]}
    log = installation.home / "recall.log"
    with (
        recall_service(installation.environment(tower.url), log) as url,
        httpx.Client(base_url=url, headers=HEADERS) as client,
    ):

        def answer() -> list[dict[str, Any]]:
            found = client.post("/v1/models/recall:predict", json=asked).raise_for_status().json()
            return list(found["predictions"][0]["items"])

        before = answer()
        click = {"event_id": "c1", "user_id": world.user(7), "item_id": before[0]["item_id"], "event": "click"}
        assert client.post("/v1/events", json=click).raise_for_status().json()["taken"] == 1
        after = answer()
    assert before[0]["item_id"] not in [item["item_id"] for item in after]
    scores = {item["item_id"]: item["score"] for item in before}
    both = [(item["score"], scores[item["item_id"]]) for item in after if item["item_id"] in scores]
    assert any(abs(new - old) > 1e-4 for new, old in both)  # another history, another vector
