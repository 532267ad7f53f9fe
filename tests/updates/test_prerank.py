"""A pre-ranker from a log to answers, all in this process: full update, incremental, faults, and a version without."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.data.window import to_us
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.item_changes.changes import upserted
from pagoda.item_changes.log import open_item_log
from pagoda.model.user_moments import user_moments
from pagoda.prerank.inputs import pair_inputs
from pagoda.prerank.items import EncodedItems
from pagoda.registry.publish import publish
from pagoda.storage.copies import local_path
from pagoda.updates.incremental_steps import Done, run_all
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from pagoda.version_files.preranked_items import preranked
from serving.background import cancel
from serving.recall.items import preranker, preranking
from serving.recall.items.preranking import PreRanking
from serving.recall.servers import in_process_tower
from serving.tower.program import load_program
from serving.workers.items import open_item_worker
from tests.training.prerank.worlds import PRERANK, make_shown
from tests.training.worlds import hours

from .homes import NOW, USER, Home, K

CANDIDATES = 20
NEW, CHANGED = 900, 103


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    for module in (in_process_tower, preranker):
        monkeypatch.setattr(module, "load_small", load_program)
    made = Home(tmp_path, make_shown)
    yield made
    made.parts.preranking.close()
    made.follower.close()


def expected(home: Home, manifest: Manifest) -> dict[int, float]:
    """The chance of each item for the user, from tables and the version's own files: without any part that serves."""
    assert manifest.prerank is not None
    folder = local_path(open_log(home.settings).state().versions[manifest.full_version].uri) or Path()
    files, ids = FullVersionFiles(folder, folder), home.dataset.items()["item_id"].to_numpy()
    user, now = np.array([USER]), np.array([to_us(NOW.end)])
    moments = user_moments(
        home.dataset, files.encoder, user, now, histories=home.past(), context=home.dataset.users(user)
    )
    towers, groups = OpenVersion(files, home.dataset), manifest.prerank.groups
    items = EncodedItems([preranked(files, groups, home.dataset.items(), towers.item_vectors())])
    inputs = pair_inputs(
        groups,
        items,
        towers.user_vectors(user, now, home.past()),
        moments.keys(np.zeros(1, np.int64)),
        places=items.find(ids)[0],
        owner=np.zeros(len(ids), np.int64),
    )
    program = load_program(local_path(manifest.prerank.program.uri) or Path())
    return dict(zip(ids.tolist(), program(*inputs.tensors()).sigmoid().tolist(), strict=True))


async def test_what_the_towers_find_is_answered_in_the_order_of_the_pre_ranker(home: Home) -> None:
    manifest = home.full(hours(0, 40), PRERANK)
    publish(open_log(home.settings), manifest.id, "stable")
    said = await home.prediction(manifest)
    cosines, chances = home.expected(manifest), expected(home, manifest)
    found = sorted(cosines, key=lambda item: -cosines[item])[:CANDIDATES]
    best = sorted(found, key=lambda item: -chances[item])[:K]
    assert said["degraded"] == [] and "prerank" in said["timing_ms"]
    np.testing.assert_allclose([chances[int(item["item_id"])] for item in said["items"]], [chances[i] for i in best])
    for item in said["items"]:
        assert item["score"] == pytest.approx(chances[int(item["item_id"])], abs=1e-5)
        assert item["recall_score"] == pytest.approx(cosines[int(item["item_id"])], abs=1e-4)
    with home.followed():
        done = run_all(home.settings, str(home.dataset.path), hours(0, 50).end)[manifest.full_version]
    assert isinstance(done, Done)
    incremental = open_log(home.settings).state().generation(done.manifest.id)
    assert (incremental.prerank, incremental.full_version) == (manifest.prerank, manifest.full_version)
    assert (await home.prediction(incremental))["degraded"] == []
    assert await home.prediction(manifest) | {"timing_ms": {}} == said | {"timing_ms": {}}


async def test_changed_and_new_items_are_ordered_as_if_they_were_exported_now(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preranking, "_POLL_SECONDS", 0.01)
    manifest = home.full(hours(0, 40), PRERANK)
    publish(open_log(home.settings), manifest.id, "stable")
    assert (await home.prediction(manifest))["degraded"] == []
    changes = [upserted(manifest.spec, {"item_id": item, "tags": ["k3", "all"]}, "item") for item in (NEW, CHANGED)]
    open_item_log(home.settings).append(changes)
    events = home.settings.events.model_copy(update={"dataset": str(home.dataset.path)})
    with open_item_worker(home.settings.model_copy(update={"events": events})) as worker:
        worker.step()
    home.dataset = Dataset.open(home.dataset.path)
    chances, following = expected(home, manifest), asyncio.create_task(home.parts.preranking.follow())
    assert NEW in chances

    async def as_if_exported() -> bool:
        said = {int(item["item_id"]): item["score"] for item in (await home.prediction(manifest, k=100))["items"]}
        # The search finds what is new a moment after it was added.
        return {NEW, CHANGED} <= set(said) and said == pytest.approx({item: chances[item] for item in said}, abs=1e-4)

    async with asyncio.timeout(60):
        while not await as_if_exported():
            await asyncio.sleep(0.01)
    await cancel(following)


async def test_late_or_broken_it_costs_its_order_and_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = home.full(hours(0, 40), PRERANK)
    cosines = home.expected(manifest)
    by_cosine = sorted(cosines.values(), reverse=True)[:K]

    async def check(fault: Any) -> None:
        monkeypatch.setattr(preranker.OpenPreRanker, "score", fault)
        said = await home.prediction(manifest)
        assert said["degraded"] == ["prerank_skipped"]
        np.testing.assert_allclose([item["score"] for item in said["items"]], by_cosine, atol=1e-4)
        assert all("recall_score" not in item for item in said["items"])

    await home.prediction(manifest)
    await check(lambda *_: 1 / 0)
    monkeypatch.setattr(preranker.OpenPreRanker, "seconds", 0.001)
    await check(lambda *_: time.sleep(0.5))

    async def check_opening(why: str) -> None:
        home.parts.preranking.close()
        home.parts = replace(home.parts, preranking=PreRanking())
        await check(lambda *_: pytest.fail("it was opened nevertheless"))
        assert why in caplog.text

    with monkeypatch.context() as image:
        image.setitem(sys.modules, preranker.__name__, None)  # As where there is no PyTorch.
        await check_opening("the image recall-compact has it")
    assert manifest.prerank is not None
    program = local_path(manifest.prerank.program.uri) or Path()
    program.write_bytes(program.read_bytes()[:-1])
    await check_opening(str(program))
