"""Recall has a generation's original vectors before it answers by it, and changes of items soon after they are made."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import GateError, IntegrityError
from pagoda.generations.manifest import Artifact, Manifest, OriginalVectors
from pagoda.item_vectors.changed_columns import VECTORS, ChangedColumns
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, write_vectors_by_id
from pagoda.storage.checksums import checksum_file
from serving.recall.generations.generation import LiveGeneration
from serving.recall.servers import held_vectors as subject
from serving.recall.servers.held_vectors import HeldVectors, open_vectors
from tests.item_vectors.worlds import SPEC, unit_vectors, write_vectors
from tests.serving.fakes import manifest

QUERY = unit_vectors(1, seed=3)[0]


@pytest.fixture
def refined(tmp_path: Path) -> Manifest:
    write_vectors(tmp_path / "v.parquet", 50)
    (folder := tmp_path / "originals").mkdir()
    write_vectors_by_id(folder, ItemVectors(tmp_path / "v.parquet", SPEC), SPEC)
    ids, vectors = (
        Artifact(uri=f"file://{folder / name}", checksum=checksum_file(folder / name))
        for name in (IDS_FILE, VECTORS_FILE)
    )
    return manifest(1).model_copy(update={"originals": OriginalVectors(ids=ids, vectors=vectors)})


def test_changes_of_items_are_seen_while_they_are_followed(refined: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refined.originals
    monkeypatch.setattr(subject, "_POLL_SECONDS", 0.02)
    held, changed = HeldVectors(), ChangedColumns(refined.originals.vectors.uri)
    changed.add(1, np.array([60]), {VECTORS: QUERY[None]})

    def score(item: int) -> float:
        originals = held.of(refined.collection)
        assert originals
        return float(originals.best(QUERY, np.array([item]), np.zeros(1, np.float32), 1)[1][0])

    live = LiveGeneration(refined)

    async def follow() -> None:
        assert held.of(refined.collection) is None
        await open_vectors(refined, live, held, HeldVectors())
        assert score(60) == pytest.approx(1, abs=1e-3), "what had changed before it was opened"
        following = asyncio.create_task(held.follow())
        changed.add(2, np.array([61]), {VECTORS: -QUERY[None]})
        while score(61) > -0.99:
            await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(asyncio.wait_for(follow(), 10))


def test_no_number_of_candidates_takes_them_from_what_serves(
    refined: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_POLL_SECONDS", 0.0)
    held, stable = HeldVectors(), LiveGeneration(refined)

    async def try_many() -> None:
        await open_vectors(refined, stable, held, HeldVectors())
        following = asyncio.create_task(held.follow())
        for number in range(2, 8):
            other = refined.model_copy(update={"collection": f"items_{number}"})
            await open_vectors(other, LiveGeneration(other), held, HeldVectors())
            await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(try_many())
    assert held.of(stable.manifest.collection), "nobody asked for it meanwhile"
    assert held.of("items_2") is None
    assert held.of("items_7"), "a rollback to what served just now reads nothing again"


def test_a_canary_of_the_same_collection_takes_them_from_nobody_when_it_goes(refined: Manifest) -> None:
    """Of both arms of an incremental's rollout, when recall is started in its midst."""
    held, stable, canary = HeldVectors(), LiveGeneration(refined), [LiveGeneration(refined)]

    async def start_and_go_on() -> None:
        await asyncio.gather(*(open_vectors(refined, live, held, HeldVectors()) for live in (stable, *canary)))
        canary.clear()
        for number in range(2, 8):
            other = refined.model_copy(update={"collection": f"items_{number}"})
            await open_vectors(other, LiveGeneration(other), held, HeldVectors())

    asyncio.run(start_and_go_on())
    assert held.of(stable.manifest.collection)


def test_damaged_ones_keep_their_generation_from_serving(refined: Manifest) -> None:
    assert refined.originals
    path = Path(refined.originals.vectors.uri.removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(IntegrityError, match=VECTORS_FILE):
        asyncio.run(open_vectors(refined, LiveGeneration(refined), HeldVectors(), HeldVectors()))


def test_a_generation_of_before_serves_without(caplog: pytest.LogCaptureFixture) -> None:
    held, before = HeldVectors(), manifest(1)
    asyncio.run(open_vectors(before, LiveGeneration(before), held, HeldVectors()))
    assert held.of(before.collection) is None
    assert "answers with the scores of codes" in caplog.text


def test_fewer_numbers_do_not_serve_without_them_and_the_settings_that_help_are_named(refined: Manifest) -> None:
    assert refined.originals
    without = HeldVectors()
    asyncio.run(open_vectors(refined, LiveGeneration(refined), None, without))
    fewer = refined.originals.model_copy(update={"reduction": refined.originals.ids})
    wrong = refined.model_copy(update={"originals": fewer})
    with pytest.raises(GateError, match=r"holds 2 numbers.*index\.dim.*index\.refine"):
        asyncio.run(open_vectors(wrong, LiveGeneration(wrong), None, without))
