"""Collections that hosts bring from a store: built on one, searched on others, changed by any."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pagoda.append_log.store import FolderStore
from pagoda.errors import ConflictError, IntegrityError, UnavailableError
from pagoda.index.build import build_collection
from pagoda.index.factory import open_copies, open_search
from pagoda.index.in_process import collection_store
from pagoda.index.in_process.stored_collections import StoredCollections
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import IndexSettings, Settings
from pagoda.storage.copies import children
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

NAME, ROWS = "items", 300
QUERIES, NEW = unit_vectors(5, seed=3), unit_vectors(50, seed=8)

Host = Callable[[str], Settings]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """The settings of a host, by its name; they share a store, in which is a collection that `builder` has built."""
    store = str(tmp_path / "store")

    def host(name: str) -> Settings:
        return Settings(home=tmp_path / name, index=IndexSettings(backend="in_process", store=store))

    write_vectors(tmp_path / "v.parquet", ROWS)
    build_collection(open_copies(host("builder")), NAME, tmp_path / "v.parquet", SPEC, queries=QUERIES)
    return host


def best(collections: StoredCollections, vector: np.ndarray) -> int:
    return int(collections.search(NAME, vector[None], 1, effort=100)[0].ids[0])


def change(collections: StoredCollections, *items: int) -> None:
    for item in items:
        collections.upsert(NAME, vectors_batch(SPEC, items_table(1, item), NEW[[item % 50]]))


async def test_recall_searches_a_copy_that_its_follower_brings(host: Host) -> None:
    pod = host("pod")
    copies, search = open_copies(pod), open_search(pod, lambda: None)

    async def found() -> object:
        ((item,),) = await search.search(NAME, NEW[:1].tolist(), 1, wanted=EVERYTHING, excluded=(), keys=False)
        return item["item_id"]

    with pytest.raises(UnavailableError, match="does not exist"):
        await found()
    copies.bring(NAME)
    assert await found() != 700
    worker = open_copies(host("worker"))
    change(worker, 700)
    assert not (host("worker").home / "collections").exists(), "who changes items needs no copy"
    copies.bring(NAME)
    await search.close()
    search = open_search(pod, lambda: None)
    assert await found() == 700
    await search.close()


def test_hosts_agree_whoever_changes_what(host: Host) -> None:
    hosts = [open_copies(host(name)) for name in ("builder", "one", "other")]
    assert len({best(one, QUERIES[0]) for one in hosts}) == 1
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: change(open_copies(host("worker")), item), range(ROWS, ROWS + 20)))
    assert [one.count(NAME) for one in hosts] == [ROWS + 20] * 3
    change(hosts[1], 7)
    hosts[2].delete(NAME, np.array([7, 8]))
    assert [one.count(NAME) for one in hosts] == [ROWS + 18] * 3
    change(hosts[0], 7)
    assert [best(one, NEW[7]) for one in hosts] == [7] * 3
    assert open_copies(host("late")).count(NAME) == ROWS + 19


def test_no_change_is_left_behind_a_gap(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    # S3 answers 409 while another writer creates the name, who may yet fail.
    worker, put, refused = open_copies(host("worker")), FolderStore.put, iter([True])

    def once_refused(self: FolderStore, name: str, content: bytes) -> None:
        if next(refused, False):
            raise ConflictError(f"{name} is being created")
        put(self, name, content)

    monkeypatch.setattr(FolderStore, "put", once_refused)
    change(worker, 700)
    assert next(refused, None) is None
    assert best(open_copies(host("pod")), NEW[0]) == 700


def test_changes_go_on_where_they_ended_without_being_listed_each_time(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, pod, listed = open_copies(host("worker")), open_copies(host("pod")), list[str]()
    monkeypatch.setattr(collection_store, "children", lambda uri: listed.append(uri) or children(uri))
    change(worker, 700)
    change(open_copies(host("another")), 701)
    listed.clear()
    change(worker, 702, 703)
    assert (listed, pod.count(NAME)) == ([], ROWS + 4)
    # One that was dropped and built anew begins again.
    builder = open_copies(host("builder"))
    builder.drop(NAME)
    build_collection(builder, NAME, tmp_path / "v.parquet", SPEC, queries=QUERIES)
    change(worker, 704)
    assert open_copies(host("late")).count(NAME) == ROWS + 1


def test_what_is_let_go_of_or_dropped_goes_everywhere(host: Host) -> None:
    one, other = open_copies(host("one")), open_copies(host("other"))
    assert best(one, QUERIES[0]) == best(other, QUERIES[0])
    one.release(NAME)
    assert (other.loaded(NAME), other.exists(NAME)) == (False, True)
    with pytest.raises(UnavailableError, match="not loaded"):
        best(other, QUERIES[0])
    other.start_loading(NAME)
    assert best(one, QUERIES[0]) == best(other, QUERIES[0])
    one.drop(NAME)
    assert (other.names(), other.exists(NAME)) == ([], False)
    with pytest.raises(IntegrityError, match="does not exist"):
        other.bring(NAME)
    with pytest.raises(IntegrityError, match="does not exist"):
        best(other, QUERIES[0])


async def test_a_store_that_was_emptied_takes_nothing_from_who_serves(host: Host, tmp_path: Path) -> None:
    pod = host("pod")
    copies, search = open_copies(pod), open_search(pod, lambda: None)
    copies.bring(NAME)
    (tmp_path / "store" / NAME).rename(tmp_path / "away")
    with pytest.raises(IntegrityError, match=r"items.*does not exist in the store"):
        copies.bring(NAME)
    asked = QUERIES[:1].tolist()
    assert await search.search(NAME, asked, 1, wanted=EVERYTHING, excluded=(), keys=False)
    await search.close()
    # Who builds it anew on this host has no use for the copy.
    assert not build_collection(copies, NAME, tmp_path / "v.parquet", SPEC, queries=QUERIES).reused
    assert open_copies(host("other")).count(NAME) == ROWS


def test_a_copy_is_whole_or_none(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "store" / NAME / "index" / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    pod = open_copies(host("pod"))
    with pytest.raises(IntegrityError, match=r"copy of collection 'items'.*vectors\.faiss is damaged"):
        pod.bring(NAME)
    assert not (host("pod").home / "collections" / NAME).exists()
    content[-1] ^= 1
    path.write_bytes(content)
    pod.bring(NAME)
    assert pod.count(NAME) == ROWS


@pytest.mark.parametrize("name", ["../../../written", "/written", "..", "text/written"])
def test_a_record_in_a_store_names_no_file_elsewhere(host: Host, tmp_path: Path, name: str) -> None:
    index = tmp_path / "store" / NAME / "index"
    record = json.loads((index / "index.json").read_bytes())
    (tmp_path / "store" / "written").write_bytes(b"of another")
    record["checksums"][name] = record["checksums"]["vectors.faiss"]
    (index / "index.json").write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match=r"index\.json"):
        open_copies(host("pod")).bring(NAME)
    assert not list((tmp_path / "pod").rglob("written"))


def test_what_a_killed_upload_left_is_none_and_built_anew(host: Host, tmp_path: Path) -> None:
    (tmp_path / "store" / NAME / "schema.arrow").unlink()  # Written last.
    change_left = tmp_path / "store" / NAME / "changes" / "00000001"
    change_left.parent.mkdir()
    change_left.write_bytes(b"of another")
    jobs = open_copies(host("another"))
    assert (jobs.exists(NAME), jobs.names()) == (False, [])
    report = build_collection(jobs, NAME, tmp_path / "v.parquet", SPEC, queries=QUERIES)
    assert not report.reused and not change_left.exists()
    assert open_copies(host("pod")).count(NAME) == ROWS


def test_a_follower_keeps_the_copies_that_are_wanted(host: Host) -> None:
    pod = open_copies(host("pod"))
    pod.bring(NAME)
    pod.keep({NAME})
    assert pod.count(NAME) == ROWS
    (killed := host("pod").home / "collections" / f".{NAME}.{'0' * 32}").mkdir()
    pod.keep(set())
    assert list(killed.parent.iterdir()) == []
    assert pod.exists(NAME)


@pytest.mark.integration
def test_a_bucket_is_such_a_store(bucket: str, tmp_path: Path) -> None:
    hosts = [
        open_copies(Settings(home=tmp_path / name, index=IndexSettings(backend="in_process", store=f"{bucket}/made")))
        for name in ("builder", "pod")
    ]
    write_vectors(tmp_path / "v.parquet", ROWS)
    build_collection(hosts[0], NAME, tmp_path / "v.parquet", SPEC, queries=QUERIES)
    hosts[1].bring(NAME)
    change(hosts[0], 700)
    assert (hosts[1].count(NAME), best(hosts[1], NEW[0])) == (ROWS + 1, 700)
    hosts[0].drop(NAME)
    assert (hosts[1].names(), hosts[1].exists(NAME)) == ([], False)
