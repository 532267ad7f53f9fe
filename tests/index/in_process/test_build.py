"""What becomes of an index whose build is killed, disturbed, or whose files are damaged."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import DataError, IntegrityError, UnavailableError
from pagoda.index.build import build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.vector_files import ItemVectorsWriter, vectors_batch
from pagoda.settings import CollectionConfig
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

NAME, ROWS = "items", 500
VECTORS = unit_vectors(ROWS)
QUERIES = unit_vectors(5, seed=3)


def filled(folder: Path, name: str = NAME) -> FolderCollections:
    """A collection whose index is asked for."""
    collections = FolderCollections(folder)
    collections.create(name, 16, filter_fields(SPEC), keys=False, description="")
    collections.insert(name, vectors_batch(SPEC, items_table(ROWS), VECTORS))
    collections.start_index(name, CollectionConfig())
    return collections


def best(collections: FolderCollections, vector: np.ndarray) -> int:
    return int(collections.search(NAME, vector[None], 1, effort=100)[0].ids[0])


KILLED = """
import os, signal, sys
from pathlib import Path
import {module} as module
from pagoda.index.in_process.collections import FolderCollections
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
module.{name} = die
FolderCollections(Path(sys.argv[1])).wait_indexed("items", 0, 60.0)
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pagoda.index.in_process.index_folder", "checksum_file"),
        pytest.param("pagoda.index.in_process.index_folder", "build_index", marks=pytest.mark.long),
        pytest.param("pagoda.storage.atomic", "sync_tree", marks=pytest.mark.long),
        pytest.param("pagoda.storage.atomic", "fsync_folder", marks=pytest.mark.long),
        pytest.param("shutil", "rmtree", marks=pytest.mark.long),
    ],
)
def test_a_build_that_was_killed_is_finished_by_the_next(tmp_path: Path, module: str, name: str) -> None:
    collections = filled(tmp_path)
    command = [sys.executable, "-c", KILLED.format(module=module, name=name), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    if collections.indexed_rows(NAME) == 0:
        with pytest.raises(UnavailableError, match="no index yet"):
            collections.start_loading(NAME)
    collections.wait_indexed(NAME, ROWS, 60.0)
    collections.load(NAME)
    assert [best(collections, vector) for vector in VECTORS[:5]] == list(range(5))
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == [
        "index",
        "loaded",
        "schema.arrow",
        "wanted.json",
    ]


def test_a_build_that_takes_too_long_leaves_nothing(tmp_path: Path) -> None:
    collections = filled(tmp_path)
    with pytest.raises(UnavailableError, match=f"{NAME}.*0 rows are in after 0 s"):
        collections.wait_indexed(NAME, ROWS, 0.0)
    assert collections.indexed_rows(NAME) == 0
    assert not list((tmp_path / NAME).glob("*index*"))


def test_what_changes_during_a_build_is_seen_after_it(tmp_path: Path) -> None:
    collections, new = filled(tmp_path), unit_vectors(1, seed=8)

    def change(_: int) -> None:
        FolderCollections(tmp_path).upsert(NAME, vectors_batch(SPEC, items_table(1, 7), new))
        FolderCollections(tmp_path).delete(NAME, np.array([8]))

    collections.wait_indexed(NAME, ROWS, 60.0, change)
    collections.load(NAME)
    assert (best(collections, new[0]), collections.count(NAME)) == (7, ROWS - 1)
    assert best(collections, VECTORS[7]) != 7
    assert best(collections, VECTORS[8]) != 8
    with pytest.raises(DataError, match="it is indexed, and no row can be inserted"):
        collections.insert(NAME, vectors_batch(SPEC, items_table(1, ROWS), new))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("index.faiss", "flipped"),
        ("vectors.faiss", "cut"),
        ("items.arrow", "gone"),
        ("index.json", "flipped"),
        *(
            pytest.param(name, damage, marks=pytest.mark.long)
            for name in ("index.faiss", "vectors.faiss", "items.arrow", "index.json")
            for damage in ("flipped", "cut", "gone")
        ),
    ],
)
def test_a_damaged_file_is_named_and_the_collection_built_anew(tmp_path: Path, name: str, damage: str) -> None:
    items = tmp_path / "v.parquet"
    write_vectors(items, ROWS)
    collections = FolderCollections(tmp_path)
    build_collection(collections, NAME, items, SPEC, queries=QUERIES)
    path = tmp_path / NAME / "index" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-3] if damage == "cut" else content)
    with pytest.raises((IntegrityError, UnavailableError), match=f"{NAME}.*index"):
        FolderCollections(tmp_path).search(NAME, QUERIES, 5, effort=64)
    assert not build_collection(FolderCollections(tmp_path), NAME, items, SPEC, queries=QUERIES).reused


def test_vectors_of_any_length_are_found_by_their_inner_products(tmp_path: Path) -> None:
    """As long as an item is popular, and popular ones before others that point the same way."""
    lengths = np.random.default_rng(4).gamma(2, 10, (ROWS, 1)).astype(np.float32)
    vectors, queries = VECTORS * lengths, QUERIES * 7
    with ItemVectorsWriter(tmp_path / "v.parquet", SPEC, 16, "dot") as writer:
        writer.write(items_table(ROWS), vectors)
    collections = FolderCollections(tmp_path)
    report = build_collection(collections, NAME, tmp_path / "v.parquet", SPEC, queries=queries)
    assert report.similarity == "dot"
    assert report.recall_at_100 > 0.98
    exact = queries @ vectors.T
    for hits, products in zip(collections.search(NAME, queries, 5, effort=200), exact, strict=True):
        np.testing.assert_allclose(hits.scores, np.sort(products)[::-1][:5], rtol=1e-5)
        np.testing.assert_allclose(products[hits.ids], hits.scores, rtol=1e-5)


async def test_recall_holds_two_generations_and_sees_a_change_of_one_without_reading_it_again(tmp_path: Path) -> None:
    names, new = ("old", "new"), unit_vectors(1, seed=8)
    for name in names:
        filled(tmp_path, name).load(name)
    search, jobs = FolderSearch(tmp_path), FolderCollections(tmp_path)

    async def found(name: str) -> object:
        ((item,),) = await search.search(name, new.tolist(), 1, wanted=EVERYTHING, excluded=(), keys=False)
        return item["item_id"]

    before = [await found(name) for name in names]
    assert before[0] == before[1]
    for path in (tmp_path / "new/index").glob("*.faiss"):
        path.unlink()
    jobs.upsert("new", vectors_batch(SPEC, items_table(1, 700), new))
    deadline = time.monotonic() + 2
    while await found("new") != 700:
        assert time.monotonic() < deadline
    assert await found("old") == before[0]
    jobs.release("old")
    with pytest.raises(UnavailableError, match=r"'old'.*not loaded"):
        while time.monotonic() < deadline:
            await found("old")
    assert await found("new") == 700
    await search.close()
