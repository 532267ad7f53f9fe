"""Cascades: the first member finds, the second alone scores, under filters, exclusions, rules and changes of items."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec, Numeric, Rules
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Cascade, Manifest
from pagoda.index.build import build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById, write_vectors_by_id
from pagoda.rollout.state.split import Split
from pagoda.settings import CollectionConfig
from serving.http.fields import PastItems
from serving.recall.api import RecalledItem, RecallInstance
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.fallback.fallback import Fallback
from serving.recall.generations.follower import Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.request.answer import answer_by
from serving.recall.request.arm_group import groups_of
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.tower import UserVectors
from serving.users.online_store import KeptVectors, StoredUser
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors
from tests.serving.fakes import NOTHING, FakeTower, manifest
from tests.serving.recall.failing import Failing
from tests.serving.recall.setting import begun
from tests.serving.worlds import make_spec

ITEMS, FIRST, SECOND, K = 90, 16, 8, 7
TOLERANCE = 2e-3
"""Of a cosine of vectors in float16."""
ALL = set(range(ITEMS))
RULED = FeatureSpec(
    features=(Numeric(name="year", tower="item", edges=(1990,)),),
    rules=Rules(weight="value", popularity=True, penalty=0.02),
)


def cascade(candidates: int, spec: FeatureSpec = SPEC) -> Manifest:
    """A generation of two members."""
    second = Cascade(ids=NOTHING, vectors=NOTHING, dim=SECOND, candidates=candidates)
    return manifest(3, spec).model_copy(update={"cascade": second, "collection": "first"})


class Searched:
    """A collection of the first member's vectors, and the second's beside it."""

    def __init__(self, folder: Path) -> None:
        self.first = write_vectors(folder / "first.parquet", ITEMS)
        self.second = write_vectors(folder / "second.parquet", ITEMS, SECOND, seed=1)
        self.search, self.beside = searched(folder, SPEC)

    async def answer(self, candidates: int, user: np.ndarray, **fields: Any) -> list[RecalledItem]:
        """What the channel gives for a user's vector."""
        live = LiveGeneration(cascade(candidates))
        (lookup,) = begun(live, **fields)
        lookup.vectors = (user.tolist(),)
        return await TwoTowerChannel(JoinedIndex(self.search), lambda _: self.beside).candidates(live, lookup)

    def expected(self, user: np.ndarray, k: int, candidates: int, among: set[int]) -> list[int]:
        """The same by its definition."""
        by_first, by_second = self.first @ user[:FIRST], self.second.astype(np.float16) @ user[FIRST:]
        found = sorted(among, key=lambda item: (-by_first[item], item))[: max(candidates, k)]
        return sorted(found, key=lambda item: (-by_second[item], item))[:k]


def searched(folder: Path, spec: FeatureSpec) -> tuple[FolderSearch, VectorsById]:
    """What recall has of `first.parquet` and `second.parquet`."""
    collections, queries = FolderCollections(folder / "index"), unit_vectors(5)
    exact = CollectionConfig(kind="FLAT")
    build_collection(collections, "first", folder / "first.parquet", spec, queries=queries, config=exact)
    write_vectors_by_id(folder, ItemVectors(folder / "second.parquet", spec), spec)
    return FolderSearch(folder / "index"), VectorsById(folder / IDS_FILE, folder / VECTORS_FILE)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return Searched(tmp_path_factory.mktemp("cascade"))


def user(seed: int) -> np.ndarray:
    return np.concatenate([unit_vectors(1, FIRST, seed)[0], unit_vectors(1, SECOND, seed + 1)[0]])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    depths=st.tuples(st.integers(1, 20), st.integers(1, 2 * ITEMS)),
    seen=st.sets(st.integers(0, ITEMS - 1), max_size=30),
    kind=st.sampled_from([None, "kind 1", "kind 4"]),
)
async def test_answers_are_the_second_members_best_of_what_the_first_finds(
    world: Searched, seed: int, depths: tuple[int, int], seen: set[int], kind: str | None
) -> None:
    (k, candidates), asked = depths, user(seed)
    history = [{"item_id": item, "timestamp": 5} for item in seen]
    wanted = {"kind": kind} if kind else {}
    answer = await world.answer(candidates, asked, k=k, exclude_seen=True, history=history, filter=wanted)
    kinds = items_table(ITEMS)["kind"].to_pylist()
    among = {item for item in ALL - seen if not kind or kinds[item] == kind}
    by_second = world.second @ asked[FIRST:]
    scores = [item["score"] for item in answer]
    # By scores, for two items may be as good as each other in two bytes.
    best = world.expected(asked, k, candidates, among)
    np.testing.assert_allclose(scores, by_second[best], atol=TOLERANCE)
    np.testing.assert_allclose(scores, by_second[[int(item["item_id"]) for item in answer]], atol=TOLERANCE)
    assert {item["item_id"] for item in answer} <= among


async def test_all_items_as_candidates_are_the_seconds_order_and_k_of_them_the_firsts_set(
    world: Searched,
) -> None:
    asked = user(5)
    by_first, by_second = world.first @ asked[:FIRST], world.second @ asked[FIRST:]
    every, few = [await world.answer(count, asked, k=K) for count in (ITEMS, K)]
    assert [item["item_id"] for item in every] == np.argsort(-by_second, kind="stable")[:K].tolist()
    assert {item["item_id"] for item in few} == set(np.argsort(-by_first, kind="stable")[:K].tolist())
    assert [item["item_id"] for item in few] != [item["item_id"] for item in every]


async def test_an_item_is_in_no_answer_before_the_second_model_has_its_vector(tmp_path: Path) -> None:
    world, asked = Searched(tmp_path), user(7)
    world.beside = VectorsById(*_without(tmp_path, 30))
    before = await world.answer(ITEMS, asked, k=ITEMS)
    assert {item["item_id"] for item in before} == ALL - {30}
    world.beside.change(np.array([30]), asked[None, FIRST:].astype(np.float16))
    after = await world.answer(ITEMS, asked, k=ITEMS)
    assert (after[0]["item_id"], after[0]["score"], len(after)) == (30, pytest.approx(1, abs=TOLERANCE), ITEMS)


def _without(folder: Path, item: int) -> tuple[Path, Path]:
    """The second member's files without an item that was added since."""
    places = folder / "before_ids.npy", folder / "before_vectors.npy"
    for name, place in zip((IDS_FILE, VECTORS_FILE), places, strict=True):
        np.save(place, np.delete(np.load(folder / name), item, axis=0))
    return places


async def test_rules_weigh_the_second_members_cosine(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    weights, shares = random.uniform(0.5, 1.5, ITEMS), random.dirichlet(np.ones(ITEMS))
    items = {"item_id": np.arange(ITEMS), "year": np.full(ITEMS, 2000.0), "value": weights}
    for name, dim in (("first", FIRST), ("second", SECOND)):
        with ItemVectorsWriter(tmp_path / f"{name}.parquet", RULED, dim) as writer:
            writer.write(pa.table(items), unit_vectors(ITEMS, dim, seed=dim), shares)
    search, beside = searched(tmp_path, RULED)
    live, asked = LiveGeneration(cascade(ITEMS, RULED)), user(9)
    for penalty in (0.0, 0.3):
        (lookup,) = begun(live, k=K, popularity_penalty=penalty)
        lookup.vectors = (asked.tolist(),)
        answer = await TwoTowerChannel(JoinedIndex(search), lambda _: beside).candidates(live, lookup)
        scores = weights * (unit_vectors(ITEMS, SECOND, seed=SECOND) @ asked[FIRST:]) - penalty * np.log(shares)
        assert [item["item_id"] for item in answer] == np.argsort(-scores, kind="stable")[:K].tolist()
        np.testing.assert_allclose([item["score"] for item in answer], np.sort(scores)[::-1][:K], atol=TOLERANCE)


class Named:
    """Finds the items it is told, by names."""

    def __init__(self, *names: str) -> None:
        self.names, self.asked = names, list[tuple[list[list[float]], int]]()

    async def search(self, _: str, vectors: Sequence[Sequence[float]], k: int, **__: Any) -> list[list[RecalledItem]]:
        self.asked.append(([list(one) for one in vectors], k))
        return [[{"item_id": name, "score": 0.5} for name in self.names] for _ in vectors]


async def test_items_with_names_are_scored_by_them(tmp_path: Path) -> None:
    names, vectors = ["dune", "emma", "ulysses"], np.eye(3, SECOND, dtype=np.float16)
    order = np.argsort(ids := hash_ids(names))
    np.save(tmp_path / IDS_FILE, ids[order])
    np.save(tmp_path / VECTORS_FILE, vectors[order])
    beside = VectorsById(tmp_path / IDS_FILE, tmp_path / VECTORS_FILE)
    live = LiveGeneration(cascade(5, make_spec("string")))
    (lookup,) = begun(live, user_id="anna", k=2)
    lookup.vectors = ([0.0] * FIRST + [0.1, 0.9, 0.5] + [0.0] * (SECOND - 3),)
    index = Named(*names)
    answer = await TwoTowerChannel(index, lambda _: beside).candidates(live, lookup)
    assert [item["item_id"] for item in answer] == ["emma", "ulysses"]
    assert index.asked == [([[0.0] * FIRST], 5)]


async def test_without_the_second_members_vectors_the_channel_has_no_answer(world: Searched) -> None:
    live = LiveGeneration(cascade(5))
    (lookup,) = begun(live)
    lookup.vectors = (user(1).tolist(),)
    with pytest.raises(UnavailableError, match="generation g3: its second member's vectors are not open"):
        await TwoTowerChannel(JoinedIndex(world.search)).candidates(live, lookup)


class TwoMembers(FakeTower):
    """Its users have a vector of each member, end to end."""

    async def vectors(self, *given: Any) -> list[UserVectors]:
        return [replace(one, vectors=(user(2).tolist(),)) for one in await super().vectors(*given)]


async def test_vectors_that_a_disk_does_not_give_are_not_waited_for(world: Searched) -> None:
    asked = threading.Event()

    class Stuck:
        def products(self, *_: object) -> NoReturn:
            asked.wait()
            raise AssertionError

    live = LiveGeneration(cascade(20))
    (lookup,) = begun(live)
    lookup.vectors = (user(1).tolist(),)
    channel = TwoTowerChannel(JoinedIndex(world.search), lambda _: cast(VectorsById, Stuck()), 0.05)
    try:
        with pytest.raises(UnavailableError, match="not read in time"):
            await channel.candidates(live, lookup)
    finally:
        asked.set()


async def test_a_cascade_and_a_plain_model_answer_as_arms_of_one_rollout(world: Searched) -> None:
    setting = Failing()
    plain = manifest(4, SPEC).model_copy(update={"collection": "first"})

    class Either(TwoMembers):
        async def vectors(self, *given: Any) -> list[UserVectors]:
            found = await super().vectors(*given)
            return found if given[1] == "g3" else [replace(one, vectors=(one.vectors[0][:FIRST],)) for one in found]

    channel = TwoTowerChannel(JoinedIndex(world.search), lambda _: world.beside)
    parts = replace(setting.parts, tower=Either({"g3", "g4"}), channels=(channel,))
    answers = []
    for made in (plain, cascade(20), plain):
        live = LiveGeneration(made)
        (said,) = await answer_by(live, "stable", parts, begun(live, k=K))
        assert (said["generation"], said["degraded"], len(said["items"])) == (made.id, [], K)
        answers.append([item["item_id"] for item in said["items"]])
    assert answers[0] == answers[2] != answers[1] == world.expected(user(2), K, 20, ALL)


async def test_a_kept_vector_answers_by_both_members(world: Searched) -> None:
    kept = KeptVectors.decode(KeptVectors(4, (user(2).tolist(),)).encode())
    live, fallback, channel = (
        LiveGeneration(cascade(20)),
        Fallback(),
        TwoTowerChannel(world.search, lambda _: world.beside),
    )
    (lookup,) = begun(live, k=K)
    lookup.stored = StoredUser({}, PastItems(), (), basis=4, vectors=kept)
    assert fallback.stand_in(live, [lookup])
    answer = await channel.candidates(live, lookup)
    assert [item["item_id"] for item in answer] == world.expected(user(2), K, 20, ALL)


def test_users_of_a_cascade_wait_as_those_who_want_as_many_items() -> None:
    plain, both = (
        Serving(Split(stable=one.id), LiveGeneration(one)) for one in (manifest(4, SPEC), cascade(candidates=800))
    )
    (few,) = groups_of(both, [RecallInstance(user_id=user, k=10) for user in range(6)], None)
    (many,) = groups_of(plain, [RecallInstance(user_id=user, k=800) for user in range(6)], None)
    assert few.cost == many.cost
    assert [group.places for group in few.slices()] == [group.places for group in many.slices()]


def test_a_cascade_as_canary_makes_no_user_of_the_stable_arm_dearer() -> None:
    plain, both = LiveGeneration(manifest(4, SPEC)), LiveGeneration(cascade(candidates=800))
    serving = Serving(Split(stable=plain.id, canary=both.id, percent=50), plain, both)
    alone = Serving(Split(stable=plain.id), plain)
    asked = [RecallInstance(user_id=user, k=10) for user in range(40)]
    for group in groups_of(serving, asked, None):
        (as_before,) = groups_of(alone, group.asked, None)
        assert group.cost == (8 if group.arm == "canary" else 1) * as_before.cost
