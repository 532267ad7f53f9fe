"""The main job on the compact profile: no Milvus and no TorchServe, and the same answers, updates and recoveries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from pagoda.client import Client
from pagoda.data.window import to_us
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.model.table_inputs import histories_at
from pagoda.rollout.releasing import release_full
from pagoda.settings import SETTINGS_FILE
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

from .served.homes import Home, healthy, kill

pytestmark = pytest.mark.integration
USER, K = 3, 10


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A small world that a compact platform serves, with the words of its items."""
    folder = tmp_path_factory.mktemp("compact")
    spec = SPEC.model_copy(update={"title": "name"})
    dataset, platform = make(folder / "data", spec), Platform(folder / "home")
    try:
        (folder / "home").mkdir()
        (folder / "home" / SETTINGS_FILE).write_text("index: {text: true}\n")
        settings = platform.up(profile="compact", attached=True)
        settle_dataset(settings, str(dataset.path))
        update = FullUpdate.resolve(settings, str(dataset.path), hours(0, 50).end.isoformat())
        full_steps.train(update, yaml.safe_dump(CONFIG.model_dump(mode="json")))
        full_steps.register(update)
        full_steps.export_vectors(update)
        full_steps.build_index(update)
        full_steps.package_tower(update, package)
        assert release_full(update).id == "g1"
        load_store(dataset, dataset.span().end, settings.redis.url)
        with Client(home=settings.home) as client:
            client.wait_ready()
        yield Home(platform, settings, dataset, hours(0, 50).end)
    finally:
        platform.kill()


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
    expected = in_process(small)
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], atol=1e-4)
    np.testing.assert_allclose([expected[int(item)] for item in items], scores, atol=1e-4)


def in_process(home: Home) -> dict[int, float]:
    """The score of every item, from the registered version and the exported vectors."""
    state, end = home.state(), home.dataset.span().end
    folder = local_path(state.versions[1].uri)
    assert folder is not None
    users, moments = np.array([USER]), np.array([to_us(end)])
    read = histories_at(home.dataset, end, None, None)
    assert read is not None
    version = OpenVersion(FullVersionFiles(folder, folder), home.dataset)
    (vector,) = version.user_vectors(users, moments, read.read(users, moments), None)
    source = ItemVectors(local_path(state.generation("g1").item_vectors.uri) or Path(), home.dataset.spec)
    return {
        int(item): float(row @ vector) for ids, rows in source.blocks() for item, row in zip(ids, rows, strict=True)
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
    for service in ("recall", "follower", "items"):
        kill(small.platform, service)
    wait_for(lambda: all(healthy(small.platform, service) for service in ("recall", "follower", "items")))
    assert answer(small)[0] == "g1"
    small.now += timedelta(hours=2)
    newest = small.learn().manifest.id
    wait_for(lambda: answer(small)[0] == newest)
    (_, items, _), begin = answer(small), time.monotonic()
    with Client(home=small.settings.home) as client:
        client.change_items(remove=[items[0]])
    wait_for(lambda: items[0] not in answer(small)[1])
    assert time.monotonic() - begin < 5
