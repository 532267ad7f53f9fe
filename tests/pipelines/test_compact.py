"""The main job on the compact profile: no Milvus and no TorchServe, and the same answers, updates and recoveries."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pagoda.access.tokens import token_of
from pagoda.client import Client
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window, to_us
from pagoda.generations.hosts import holdings
from pagoda.generations.manifest import Manifest
from pagoda.index.factory import collections_folder
from pagoda.index.in_process.collection_files import CollectionFiles, deleted_rows
from pagoda.index.in_process.collection_store import CollectionStore
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.model.table_inputs import histories_at
from pagoda.rollout import commands
from pagoda.rollout.online_gates import OnlineGates
from pagoda.rollout.policy import OfflineGates, RolloutPolicy, Step
from pagoda.rollout.releasing import release_full
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.settings import SETTINGS_FILE, Settings
from pagoda.standalone.endpoints import settle_dataset
from pagoda.standalone.platform import Platform
from pagoda.standalone.supervision.processes import processes_of
from pagoda.storage.copies import local_path
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.tower.archive import package
from serving.users.loading import load_store
from tests.training.worlds import CONFIG, SPEC, hours, make
from tests.waiting import wait_for

from .recall_pod import recall_pod
from .served.homes import Home, healthy, kill

pytestmark = pytest.mark.integration
USER, K = 3, 10
POLICY = RolloutPolicy(
    steps=(Step(percent=50, minimum_seconds=1, maximum_seconds=60, minimum_requests=20),),
    grace_seconds=0,
    drain_seconds=0,
    # Two short trainings of one small world: which of them is better is chance.
    offline=OfflineGates(recall_tolerance=0.99, minimum_rows=2),
    online=OnlineGates(latency=None, short_answers=None, fallbacks=None, clicks=None),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A small world that a compact platform serves, with the words of its items."""
    with serving(tmp_path_factory.mktemp("compact"), "index: {text: true}\n", profile="compact") as home:
        yield home


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """The same world with its tower where the parameter says."""
    if request.param == "in_process":
        yield request.getfixturevalue("small")
        return
    with serving(tmp_path, f"index: {{backend: in_process}}\ntower: {{runtime: {request.param}}}\n") as home:
        yield home


@contextmanager
def serving(
    folder: Path,
    told: str,
    profile: str | None = None,
    how: TrainConfig = CONFIG,
    world: Callable[[Path, FeatureSpec], Dataset] = make,
) -> Iterator[Home]:
    """A platform with these settings that has released a small world's first generation."""
    spec = SPEC.model_copy(update={"title": "name"})
    dataset, platform = world(folder / "data", spec), Platform(folder / "home")
    try:
        (folder / "home").mkdir()
        (folder / "home" / SETTINGS_FILE).write_text(told)
        settings = platform.up(profile=profile, attached=True)
        settle_dataset(settings, str(dataset.path))
        assert release_full(trained(settings, dataset, hours(0, 50).end, how)).id == "g1"
        load_store(dataset, dataset.span().end, settings.redis.url)
        with Client(home=settings.home) as client:
            client.wait_ready()
        yield Home(platform, settings, dataset, hours(0, 50).end)
    finally:
        platform.kill()


def trained(settings: Settings, dataset: Dataset, end: datetime, how: TrainConfig = CONFIG) -> FullUpdate:
    """A full update whose parts are all made."""
    return made(FullUpdate.resolve(settings, str(dataset.path), end.isoformat()), how)


def made(update: FullUpdate, how: TrainConfig) -> FullUpdate:
    """The same, of an update."""
    full_steps.train(update, how.to_yaml())
    full_steps.register(update)
    full_steps.export_vectors(update)
    full_steps.build_index(update)
    full_steps.package_tower(update, package)
    return update


def answer(home: Home) -> tuple[str, list[int | str], list[float]]:
    """What a user is recommended now: by which generation, items, scores."""
    with Client(home=home.settings.home) as client:
        said = client.recommend(USER, k=K, timestamp=to_us(home.dataset.span().end))
    assert not said.degraded
    return said.generation, [item.item_id for item in said.items], [item.score for item in said.items]


def test_answers_are_those_computed_without_any_service(small: Home) -> None:
    assert {
        mark
        for process in processes_of(small.platform.home)
        for mark in process.cmdline()
        if "torchserve" in mark or "milvus" in mark
    } == set()
    generation, items, scores = answer(small)
    assert generation == "g1"
    assert small.state().generation("g1").backend == "in_process"
    expected = in_process(small, small.state().generation("g1"))
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], atol=1e-4)
    np.testing.assert_allclose([expected[int(item)] for item in items], scores, atol=1e-4)


def in_process(home: Home, manifest: Manifest) -> dict[int, float]:
    """The score of every item, from a generation's registered version and exported vectors."""
    end = home.dataset.span().end
    folder = local_path(home.state().versions[manifest.full_version].uri)
    assert folder is not None
    users, moments = np.array([USER]), np.array([to_us(end)])
    read = histories_at(home.dataset, end, None, None)
    assert read is not None
    version = OpenVersion(FullVersionFiles(folder, folder), home.dataset)
    (vectors,) = version.user_vectors(users, moments, read.read(users, moments), None)
    if (cascade := manifest.cascade) is not None:
        by_first, by_second = (
            version.item_vectors()[:, part] @ vectors[part] for part in (slice(-cascade.dim), slice(-cascade.dim, None))
        )
        found = np.argsort(-by_first)[: max(cascade.candidates, K)]
        ids = home.dataset.items()["item_id"].to_numpy()
        return dict(zip(ids[found].tolist(), by_second[found].tolist(), strict=True))
    source = ItemVectors(local_path(manifest.item_vectors.uri) or Path(), home.dataset.spec)
    return {
        int(item): float(np.max(vectors @ row))  # Of several interests, the nearest.
        for ids, rows in source.blocks()
        for item, row in zip(ids, rows, strict=True)
    }


def test_what_a_request_says_is_found_beside_what_fits_the_user_also_for_a_newcomer(small: Home) -> None:
    assert small.state().generation("g1").texts == ("name",)
    with Client(home=small.settings.home) as client:
        said = client.recommend(USER, k=K, text="Southern", fields=["name"])
        assert not said.degraded and said.known_user
        assert {item.fields["name"].split(",")[0] for item in said.items} == {"The southern one"}
        newcomer = client.recommend(-5, text="13", merge="sum")
        assert (newcomer.items[0].item_id, newcomer.known_user) == (113, False)
        client.change_items(upsert=[{"item_id": 113, "name": "A sundial"}])

        def found() -> list[int | str]:
            return [item.item_id for item in client.recommend(USER, k=1, text="sundial", merge="sum").items]

        wait_for(lambda: found() == [113])


def test_killed_services_come_back_and_updates_and_item_changes_reach_users(small: Home) -> None:
    for service in ("recall", "workers"):
        kill(small.platform, service)
    wait_for(lambda: all(healthy(small.platform, service) for service in ("recall", "workers")))
    assert answer(small)[0] == "g1"
    small.now += timedelta(hours=2)
    newest = small.learn().manifest.id
    wait_for(lambda: answer(small)[0] == newest)
    (_, items, _), begin = answer(small), time.monotonic()
    with Client(home=small.settings.home) as client:
        client.change_items(remove=[items[0]])
    wait_for(lambda: items[0] not in answer(small)[1])
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "home",
    ["in_process", *(pytest.param(one, marks=pytest.mark.long) for one in ("torchserve", "kserve"))],
    indirect=True,
)
def test_a_canary_takes_its_share_and_then_all_users(home: Home) -> None:
    """By the same driver wherever the tower runs: its own process, which `pagoda up` runs."""
    end = max(home.now, hours(0, 52).end)  # After the first version's, and before the data's, which are judged on.
    roll_out(home, full_steps.offer(trained(home.settings, home.dataset, end)).id)


@pytest.mark.long
def test_a_rollout_leads_from_cosines_to_inner_products(tmp_path: Path) -> None:
    model = CONFIG.model.model_dump() | {"similarity": "dot"}
    dot = TrainConfig.model_validate(CONFIG.model_dump() | {"model": model, "objective": {"temperature": 1.0}})
    with serving(tmp_path, "", profile="compact") as home:
        first = answer(home)[0]
        window = Window(start=home.dataset.span().start, end=hours(0, 52).end)
        update = made(FullUpdate(home.settings, str(home.dataset.path), window, None, 1), dot)
        candidate = full_steps.offer(update)
        assert (candidate.similarity, home.state().generation(first).similarity) == ("dot", "cosine")
        assert "similarity" not in home.state().generation(first).model_dump()
        roll_out(home, candidate.id)
        _, items, scores = answer(home)
        expected = in_process(home, candidate)
        np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], rtol=1e-4)
        np.testing.assert_allclose([expected[int(item)] for item in items], scores, rtol=1e-4)


def roll_out(home: Home, candidate: str) -> None:
    """Bring a generation to some users and then to all, and see that no other than it and the stable one answered."""
    stable = answer(home)[0]
    commands.start(home.log, candidate, policy=POLICY, by="test")
    users, answered = [int(user) for user in home.dataset.users()["user_id"].to_pylist()], set[str]()
    with Client(home=home.settings.home) as client:

        def ask() -> bool:
            said = [client.recommend(user, k=K) for user in users[:40]]
            answered.update(one.generation for one in said)
            assert not any(one.degraded for one in said)
            rollout = rollout_of(home.state())
            return rollout is not None and not rollout.active

        wait_for(lambda: ask() or candidate in answered)
        wait_for(ask)
    assert answered == {stable, candidate}
    assert answer(home)[0] == candidate


@pytest.mark.long
def test_a_recall_pod_answers_from_what_its_follower_brings(small: Home, tmp_path: Path) -> None:
    """The same answers as recall on this machine, from copies; what changes in the store alone, its users alone see."""
    settings, store = small.settings, CollectionStore(str(tmp_path / "store"))
    manifest = small.state().generation(answer(small)[0])
    built = shutil.copytree(collections_folder(settings) / manifest.collection, tmp_path / "built")
    store.put(manifest.collection, CollectionFiles(built))
    store.offer(manifest.collection)
    with (
        recall_pod(tmp_path / "pod", settings, store.url) as pod,
        Client(pod.recall, token=token_of(settings.tokens_folder, "ask"), timeout=2.0) as client,
    ):

        def items() -> list[int | str]:
            said = client.recommend(USER, k=K, timestamp=to_us(small.dataset.span().end))
            assert said.generation == manifest.id and not said.degraded
            return [item.item_id for item in said.items]

        client.wait_ready()
        assert [manifest.id in one.held for one in holdings(pod.follower)] == [True]
        assert items() == answer(small)[1]
        gone, begin = items()[0], time.monotonic()
        schema = store.schema(manifest.collection)
        store.append(manifest.collection, schema, deleted_rows(schema, np.array([gone])))
        wait_for(lambda: gone not in items())
        assert time.monotonic() - begin < 3
        assert gone in answer(small)[1]
