"""Users of several interests: an answer is what a search with all of them at once would give, whatever stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError
from pagoda.generations.manifest import Manifest
from pagoda.index.base import FoundItem
from pagoda.index.build import build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.settings import CollectionConfig
from serving.http.fields import PastItems
from serving.recall.api import RecalledItem
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.steps import CACHED, OOV
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.generations.generation import LiveGeneration
from serving.recall.request.answer import answer_by
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.tower import UserVectors
from serving.users.online_store import KeptVectors, OnlineStore, StoredUser
from tests.item_vectors.worlds import SPEC, unit_vectors, write_vectors
from tests.serving.fakes import FakeStore, FakeTower, manifest
from tests.serving.recall.failing import GONE, Failing
from tests.serving.recall.setting import begun

K = 7


class Counted(FolderSearch):
    """A search that counts its calls."""

    asked: list[int]

    async def search(
        self, collection: str, vectors: Sequence[Sequence[float]], k: int, **wanted: Any
    ) -> list[list[FoundItem]]:
        self.asked.append(len(vectors))
        return await super().search(collection, vectors, k, **wanted)


@pytest.fixture
def index(tmp_path: Path) -> Counted:
    """A collection `several` of items 0 to 59."""
    write_vectors(tmp_path / "v.parquet", 60)
    build_collection(
        FolderCollections(tmp_path / "index"),
        "several",
        tmp_path / "v.parquet",
        SPEC,
        queries=unit_vectors(5),
        config=CollectionConfig(kind="FLAT"),
    )
    search = Counted(tmp_path / "index")
    search.asked = []
    return search


def several(interests: int, spec: FeatureSpec | None = None) -> Manifest:
    made = manifest(3, spec)
    return made.model_copy(update={"interests": interests, "collection": "several"})


async def found(index: Counted, vectors: np.ndarray, **fields: Any) -> list[RecalledItem]:
    live = LiveGeneration(several(len(vectors), SPEC))
    (lookup,) = begun(live, k=K, **fields)
    lookup.vectors = tuple(vectors.tolist())
    return await TwoTowerChannel(JoinedIndex(index)).candidates(live, lookup)


@pytest.mark.parametrize("seed", range(5))
async def test_items_are_the_best_of_all_by_the_nearest_interest(index: Counted, tmp_path: Path, seed: int) -> None:
    items, seen = write_vectors(tmp_path / "again.parquet", 60), [3, 11, 40]
    asked = unit_vectors(4, seed=seed + 20)
    scores = (asked @ items.T).max(0)
    scores[seen] = -np.inf
    best = np.argsort(-scores, kind="stable")[:K]
    history = [{"item_id": item, "timestamp": 5} for item in seen]
    answer = await found(index, asked, exclude_seen=True, history=history)
    assert [item["item_id"] for item in answer] == best.tolist()
    np.testing.assert_allclose([item["score"] for item in answer], scores[best], atol=1e-5)
    assert index.asked == [4]


async def test_an_interest_that_a_user_lacks_is_not_searched(index: Counted) -> None:
    one = unit_vectors(1, seed=30)
    assert await found(index, np.repeat(one, 4, 0)) == await found(index, one)
    assert index.asked == [1, 1]


class Several(FakeTower):
    """Its users have so many interests."""

    interests = 3

    async def vectors(self, *given: Any) -> list[UserVectors]:
        found = await super().vectors(*given)
        return [
            replace(one, vectors=tuple([one.vectors[0][0], float(number)] for number in range(self.interests)))
            for one in found
        ]


async def test_a_tower_that_gives_more_or_fewer_than_the_manifest_says_answers_nobody() -> None:
    setting = Failing()
    parts = replace(setting.parts, tower=Several({"g3"}))
    live = LiveGeneration(several(2))
    with pytest.raises(IntegrityError, match="3 vectors of a user by generation g3, whose manifest says 2"):
        await answer_by(live, "stable", parts, begun(live))


async def test_kept_vectors_and_those_of_nobody_stand_in_with_all_interests() -> None:
    live, fallback, tower = LiveGeneration(several(3)), Fallback(), Several({"g3"})
    await fallback.warm(live, tower)
    known, unknown = [*begun(live), *begun(live, user_id=6)]
    known.stored = StoredUser({}, PastItems(), (), vectors=KeptVectors(1, ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8])))
    assert fallback.stand_in(live, [known, unknown])
    assert (known.vectors, known.degraded) == (([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]), [CACHED])
    assert (unknown.vectors, unknown.degraded) == (([3.0, 0.0], [3.0, 1.0], [3.0, 2.0]), [OOV])


async def test_a_vector_cache_keeps_and_spares_all_interests() -> None:
    setting, live = Failing(), LiveGeneration(several(3))
    kept: dict[Any, KeptVectors] = {}

    class Written(FakeStore):
        async def keep(self, _: str, vectors: Sequence[tuple[Any, KeptVectors]], __: int) -> None:
            kept.update(vectors)

    cache = VectorCache(cast(OnlineStore, Written()), seconds=60, reuse=True)
    parts = replace(setting.parts, tower=Several({"g3"}), vector_cache=cache)
    setting.store.users[5] = StoredUser({"age": 30}, PastItems(), (), basis=9)
    first = await answer_by(live, "stable", parts, begun(live))
    await cache.flush()
    setting.store.users[5] = replace(setting.store.users[5], vectors=kept[5])
    setting.down.error = GONE
    again = await answer_by(live, "stable", replace(parts, tower=setting.parts.tower), begun(live))
    assert [one["items"] for one in again] == [one["items"] for one in first]
    assert len(kept[5].vectors) == 3 and again[0]["degraded"] == []


async def test_arms_may_differ_in_interests() -> None:
    """Each is asked and answered for itself, so a plain model can take the place of one with several, and back."""
    setting, several_of_g4 = Failing(), Several({"g4"})

    class Either(FakeTower):
        async def vectors(self, *given: Any) -> list[UserVectors]:
            return await (several_of_g4.vectors(*given) if given[1] == "g4" else super().vectors(*given))

    parts = replace(setting.parts, tower=Either({"g3"}))
    for made in (manifest(3), manifest(4).model_copy(update={"interests": 3}), manifest(3)):
        live = LiveGeneration(made)
        (said,) = await answer_by(live, "stable", parts, begun(live))
        assert [item["item_id"] for item in said["items"]] == [f"items_{live.id[1:]}/{live.id[1:]}"] * len(
            said["items"]
        )
        assert (said["generation"], said["degraded"]) == (live.id, [])
    assert [len(vector) for vector in setting.index.queries] == [2] * (1 + 3 + 1)
