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
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.factory import open_copies, open_search
from pagoda.index.in_process import collection_store
from pagoda.index.in_process.collection_store import CollectionStore
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.stored_collections import StoredCollections
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import IndexSettings, Settings
from pagoda.storage.checksums import checksum_file
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


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    """The checksum of the vectors that `builder` built it from."""
    write_vectors(tmp_path / "v.parquet", ROWS)
    return checksum_file(tmp_path / "v.parquet")


def place(tmp_path: Path) -> Path:
    """Where the build is that is the collection."""
    return next(path.parent for path in (tmp_path / "store" / NAME).glob("*/index"))


def build(collections: StoredCollections, vectors: Path) -> IndexReport:
    return build_collection(collections, NAME, vectors, SPEC, queries=QUERIES)


def best(collections: StoredCollections, vector: np.ndarray) -> int:
    return int(collections.search(NAME, vector[None], 1, effort=100)[0].ids[0])


def change(collections: StoredCollections, *items: int) -> None:
    for item in items:
        collections.upsert(NAME, vectors_batch(SPEC, items_table(1, item), NEW[[item % 50]]))


async def test_recall_searches_a_copy_that_its_follower_brings(host: Host, vectors: str) -> None:
    pod = host("pod")
    copies, search = open_copies(pod), open_search(pod, lambda: None)

    async def found() -> object:
        ((item,),) = await search.search(NAME, NEW[:1].tolist(), 1, wanted=EVERYTHING, excluded=(), keys=False)
        return item["item_id"]

    with pytest.raises(UnavailableError, match="does not exist"):
        await found()
    copies.bring(NAME, vectors)
    assert await found() != 700
    worker = open_copies(host("worker"))
    change(worker, 700)
    assert not (host("worker").home / "collections").exists(), "who changes items needs no copy"
    copies.bring(NAME, vectors)
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


def test_what_is_let_go_of_or_dropped_goes_everywhere(host: Host, vectors: str) -> None:
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
        other.bring(NAME, vectors)
    with pytest.raises(IntegrityError, match="does not exist"):
        best(other, QUERIES[0])


async def test_a_store_that_was_emptied_takes_nothing_from_who_serves(host: Host, tmp_path: Path, vectors: str) -> None:
    pod = host("pod")
    copies, search = open_copies(pod), open_search(pod, lambda: None)
    copies.bring(NAME, vectors)
    (tmp_path / "store" / NAME).rename(tmp_path / "away")
    with pytest.raises(IntegrityError, match=r"items.*does not exist in the store"):
        copies.bring(NAME, vectors)
    asked = QUERIES[:1].tolist()
    assert await search.search(NAME, asked, 1, wanted=EVERYTHING, excluded=(), keys=False)
    await search.close()
    # Who builds it anew on this host has no use for the copy.
    assert not build_collection(copies, NAME, tmp_path / "v.parquet", SPEC, queries=QUERIES).reused
    assert open_copies(host("other")).count(NAME) == ROWS


def test_a_copy_is_whole_or_none(host: Host, tmp_path: Path, vectors: str) -> None:
    path = place(tmp_path) / "index" / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    pod = open_copies(host("pod"))
    with pytest.raises(IntegrityError, match=r"copy of collection 'items'.*vectors\.faiss is damaged"):
        pod.bring(NAME, vectors)
    assert not (host("pod").home / "collections" / NAME).exists()
    content[-1] ^= 1
    path.write_bytes(content)
    pod.bring(NAME, vectors)
    assert pod.count(NAME) == ROWS


@pytest.mark.parametrize("name", ["../../../written", "/written", "..", "text/written"])
def test_a_record_in_a_store_names_no_file_elsewhere(host: Host, tmp_path: Path, name: str, vectors: str) -> None:
    index = place(tmp_path) / "index"
    record = json.loads((index / "index.json").read_bytes())
    (tmp_path / "store" / "written").write_bytes(b"of another")
    record["checksums"][name] = record["checksums"]["vectors.faiss"]
    (index / "index.json").write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match=r"index\.json"):
        open_copies(host("pod")).bring(NAME, vectors)
    assert not list((tmp_path / "pod").rglob("written"))


def test_what_a_killed_upload_or_drop_left_is_none_is_no_part_of_the_next_and_goes_when_dropped(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "store" / NAME / "schema.arrow").unlink()  # Written last, and deleted first.
    left = place(tmp_path)
    (left / "changes").mkdir()
    (left / "changes" / "00000001").write_bytes(b"of another")
    jobs = open_copies(host("another"))
    assert (jobs.exists(NAME), jobs.names()) == (False, [NAME]), "what is named is found by retention"
    assert not build(jobs, tmp_path / "v.parquet").reused
    assert open_copies(host("pod")).count(NAME) == ROWS
    jobs.drop(NAME)
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("same", [True, False])
def test_of_two_builders_one_wins_and_nothing_of_the_other_is_in_the_collection(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    one, other = open_copies(host("one")), open_copies(host("other"))
    one.drop(NAME)
    write_vectors(tmp_path / "w.parquet", ROWS if same else ROWS + 1)
    put, begun = FolderStore.put, iter([True])

    def overtaken(self: FolderStore, name: str, content: bytes) -> None:
        if next(begun, False):  # The other begins and ends when all files of the first are there, but the last.
            build(other, tmp_path / "w.parquet")
        put(self, name, content)

    monkeypatch.setattr(FolderStore, "put", overtaken)
    if same:
        build(one, tmp_path / "v.parquet")
    else:
        with pytest.raises(ConflictError, match=rf"{NAME}.*built by another meanwhile"):
            build(one, tmp_path / "v.parquet")
    change(other, 700)
    pod = open_copies(host("pod"))
    assert (pod.count(NAME), best(pod, NEW[0])) == (ROWS + 1 + (not same), 700)
    assert len(list((tmp_path / "store" / NAME).iterdir())) == 2


async def test_a_copy_gives_way_to_what_was_built_anew_of_the_same_vectors_alone(
    host: Host, tmp_path: Path, vectors: str
) -> None:
    pod, builder = open_copies(host("pod")), open_copies(host("builder"))
    pod.bring(NAME, vectors)
    change(builder, 700)
    assert pod.follow(NAME)
    builder.drop(NAME)
    build(builder, tmp_path / "v.parquet")
    change(builder, 701)
    assert not pod.follow(NAME), "changes of the one are none of the other"
    pod.bring(NAME, vectors)
    assert pod.follow(NAME)
    search = open_search(host("pod"), lambda: None)

    async def found(vector: np.ndarray) -> object:
        ((item,),) = await search.search(NAME, [vector.tolist()], 1, wanted=EVERYTHING, excluded=(), keys=False)
        return item["item_id"]

    assert await found(NEW[1]) == 701 and await found(NEW[0]) != 700
    builder.drop(NAME)
    write_vectors(tmp_path / "others.parquet", ROWS + 1)
    build(builder, tmp_path / "others.parquet")
    with pytest.raises(IntegrityError, match=rf"{NAME}.*built anew.*expected vectors {vectors}"):
        pod.bring(NAME, vectors)
    assert await found(NEW[1]) == 701
    await search.close()
    assert len(list((host("pod").home / "collections").iterdir())) == 1


def test_what_is_brought_is_what_was_looked_at_whoever_builds_meanwhile(
    host: Host, monkeypatch: pytest.MonkeyPatch, vectors: str
) -> None:
    pod, store = open_copies(host("pod")), CollectionStore(host("pod").index.store)
    stored = store.schema(NAME)
    others = stored.with_metadata({b"build": b"others", b"description": b"vectors of others "})
    found = iter([stored])
    monkeypatch.setattr(CollectionStore, "find", lambda *_: next(found, others))
    pod.bring(NAME, vectors)
    assert FolderCollections(host("pod").home / "collections").count(NAME) == ROWS
    assert not pod.follow(NAME)


def test_who_begins_reads_changes_that_others_have_put_together(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection_store, "TOGETHER", 40)
    early = open_copies(host("early"))
    early.count(NAME)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: change(open_copies(host("worker")), *range(one, one + 30)), range(ROWS, ROWS + 5)))
    change(early, ROWS)
    early.delete(NAME, np.array([ROWS + 1]))
    overlays = list((place(tmp_path) / "overlays").iterdir())
    assert [int(one.name) // 40 for one in overlays] == [3]  # With what came while it was being put together.
    read = list[str]()
    look = FolderStore.read
    monkeypatch.setattr(
        FolderStore, "read", lambda self, names: read.extend(look(self, names) and names) or look(self, names)
    )
    assert open_copies(host("late")).count(NAME) == early.count(NAME) == ROWS + 33
    assert len([name for name in set(read) if "/changes/" in name]) < 152
    # Who was killed before an overlay was whole has left nothing that others would miss.
    overlays[0].unlink()
    assert open_copies(host("later")).count(NAME) == ROWS + 33


def test_facts_of_a_stored_collection_bring_no_copy_and_count_what_is_known(host: Host) -> None:
    pod, searching = open_copies(host("pod")), open_copies(host("searching"))
    assert (pod.facts(NAME).rows, pod.facts(NAME).loaded) == (ROWS, True)
    change(pod, 0, ROWS)
    pod.delete(NAME, np.array([1, 2]))
    assert pod.facts(NAME).rows is None and not (host("pod").home / "collections" / NAME).exists()
    assert searching.count(NAME) == searching.facts(NAME).rows == ROWS - 1
    pod.delete(NAME, np.array([3]))
    assert searching.facts(NAME).rows is None, "the copy lacks a change"


def test_a_follower_keeps_the_copies_that_are_wanted(host: Host, vectors: str) -> None:
    pod = open_copies(host("pod"))
    pod.bring(NAME, vectors)
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
    hosts[1].bring(NAME, build(hosts[0], tmp_path / "v.parquet").checksum)
    change(hosts[0], 700)
    assert (hosts[1].count(NAME), best(hosts[1], NEW[0])) == (ROWS + 1, 700)
    hosts[0].drop(NAME)
    assert (hosts[1].names(), hosts[1].exists(NAME)) == ([], False)
