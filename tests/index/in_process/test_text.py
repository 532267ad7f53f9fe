"""Search by words in a collection: what counts as a word, and that all that holds of vectors holds of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.index.base import Hits
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.in_process.collection_store import CollectionStore
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.index.in_process.stored_collections import StoredCollections
from pagoda.index.in_process.text_index import TextIndex, text_in_memory
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.item_fields import FIELDS_FILE, ItemFields, write_item_fields
from pagoda.item_vectors.texts import texts_of, with_texts
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

NAME, ROWS = "items", 600
TITLED = SPEC.model_copy(update={"title": "title"})
OWN = {
    0: "Café Müller",
    1: "红色连衣裙 夏季",
    2: "蓝色牛仔裤",
    3: "ＩＰＨＯＮＥ手机壳",
    4: "the LAST word, the last",
    5: "スター・ウォーズ",
}
QUERIES = unit_vectors(3)


def titled(count: int, first: int = 0) -> pa.Table:
    """Items of which the even ones are about rivers, and each tenth has no title."""
    ids = range(first, first + count)
    said = ["about " + ("rivers" if item % 2 == 0 else "hills") + f" no{item}" if item % 10 else None for item in ids]
    titles = pa.array([OWN.get(item, words) for item, words in zip(ids, said, strict=True)], pa.string())
    return items_table(count, first).append_column("title", titles)


def build(folder: Path, collections: FolderCollections | None = None) -> IndexReport:
    write_vectors(folder / "v.parquet", ROWS)
    write_item_fields(folder / FIELDS_FILE, TITLED, titled(ROWS))
    texts = ItemFields([folder / FIELDS_FILE])
    vectors, flat, into = folder / "v.parquet", CollectionConfig(kind="FLAT"), collections or FolderCollections(folder)
    return build_collection(into, NAME, vectors, TITLED, queries=QUERIES, config=flat, texts=texts)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FolderCollections:
    folder = tmp_path_factory.mktemp("text")
    assert build(folder).texts == ("title",)
    assert build(folder).reused
    return FolderCollections(folder)


def found(
    collections: FolderCollections, text: str, k: int = ROWS, wanted: Any = None, excluded: Sequence[int] = ()
) -> Hits:
    return collections.match(NAME, text, k, wanted=FilterParser(SPEC).parse(wanted), excluded=excluded)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("cafe", 0),
        ("MÜLLER", 0),
        ("连衣裙", 1),
        ("裙", 1),
        ("蓝色的裤子", 2),
        ("iphone", 3),
        ("手机", 3),
        ("LAST words", 4),
        ("ウォーズ", 5),
        ('no77 AND title:"(', 77),
    ],
)
def test_words_of_any_letters_are_found(built: FolderCollections, text: str, item: int) -> None:
    assert found(built, text, 1).ids.tolist() == [item]


def test_the_rarer_word_counts_more_and_what_has_no_word_finds_nothing(built: FolderCollections) -> None:
    assert found(built, "rivers no77", 2).ids[0] == 77
    assert len(found(built, "?! ...").ids) == len(found(built, "nowhere").ids) == 0


@pytest.mark.parametrize("wanted", [None, {"release_year": {"lt": 1985}}, {"kind": "kind 1"}, {"kind": "none"}])
def test_filter_and_exclusions_hold_and_none_is_missing(built: FolderCollections, wanted: Any) -> None:
    passing = set(
        built.search(NAME, QUERIES, ROWS, effort=ROWS, wanted=FilterParser(SPEC).parse(wanted))[0].ids.tolist()
    )
    rivers = {item for item in passing if item % 2 == 0 and item % 10 and item not in OWN}
    gone = tuple(sorted(rivers)[:30])
    assert set(found(built, "rivers", wanted=wanted, excluded=gone).ids.tolist()) == rivers.difference(gone)
    best = found(built, "rivers", 5, wanted, gone).ids.tolist()
    assert best == found(built, "rivers", wanted=wanted, excluded=gone).ids.tolist()[:5]


def test_changed_items_are_found_by_their_new_words_alone_and_removed_ones_not(tmp_path: Path) -> None:
    build(tmp_path)
    jobs, reader = FolderCollections(tmp_path), FolderCollections(tmp_path)
    before = found(reader, "no77 hills")
    changed = pa.concat_tables([titled(1, 77), titled(1, 900)]).drop_columns("title")
    changed = changed.append_column("title", pa.array(["about lakes no77", "about hills no900"]))
    rows = vectors_batch(SPEC, changed, unit_vectors(2))
    jobs.upsert(NAME, with_texts(rows, texts_of(changed, ["title"])))
    jobs.delete(NAME, np.array([79]))
    assert found(reader, "lakes").ids.tolist() == [77]
    hills = found(reader, "hills").ids.tolist()
    assert 900 in hills and not {77, 79} & set(hills)
    # A change does not make an item rank otherwise: few were changed, and words are as rare as among all.
    again = found(reader, "no77 hills", 1)
    assert (again.ids[0], again.scores[0]) == (77, pytest.approx(before.scores[0] - before.scores[1], rel=0.2))
    assert found(reader, "lakes", excluded=(77,)).ids.tolist() == []


async def test_damaged_words_leave_the_vectors_and_jobs_find_the_damage(tmp_path: Path) -> None:
    build(tmp_path)
    path = next((tmp_path / NAME / "index/text").glob("*.term"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    search = FolderSearch(tmp_path)
    assert search.match is not None
    with pytest.raises(UnavailableError, match=rf"{NAME}.*\.term is .*build the collection anew") as error:
        await search.match(NAME, "rivers", 5, wanted=EVERYTHING, excluded=(), keys=False)
    assert error.value.part == "text"
    assert await search.search(NAME, QUERIES.tolist(), 5, wanted=EVERYTHING, excluded=(), keys=False)
    await search.close()
    with pytest.raises(IntegrityError, match=NAME):
        FolderCollections(tmp_path).load(NAME)
    assert not build(tmp_path).reused


def test_words_go_through_a_store_and_nothing_is_written_where_they_lie(tmp_path: Path) -> None:
    store = CollectionStore(str(tmp_path / "store"))
    hosts = [StoredCollections(tmp_path / name, store) for name in ("builder", "pod")]
    hosts[1].bring(NAME, build(tmp_path, hosts[0]).checksum)
    before = sorted(path.name for path in (tmp_path / "pod" / NAME / "index/text").iterdir())
    assert found(FolderCollections(tmp_path / "pod"), "no77", 1).ids.tolist() == [77]
    # Recall may read what its follower brings, and no more: a lock that it cannot take would keep it from the words.
    assert sorted(path.name for path in (tmp_path / "pod" / NAME / "index/text").iterdir()) == before


def test_a_collection_without_words_says_so_and_is_as_it_was(tmp_path: Path) -> None:
    vectors = tmp_path / "v.parquet"
    write_vectors(vectors, 50)
    collections = FolderCollections(tmp_path)
    build_collection(collections, NAME, vectors, TITLED, queries=QUERIES)
    with pytest.raises(UnavailableError, match=rf"{NAME}.*without words"):
        found(collections, "rivers")
    assert b"text" not in (tmp_path / NAME / "index/index.json").read_bytes()
    assert not (tmp_path / NAME / "index/text").exists()


def test_a_filter_of_what_hardly_has_the_words_does_not_have_all_that_has_them_looked_through(
    built: FolderCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def search(index: TextIndex, weights: dict[str, float], k: int, among: Any = None) -> Any:
        asked.append(k)
        return real(index, weights, k, among)

    real = TextIndex.search
    monkeypatch.setattr(TextIndex, "search", search)
    monkeypatch.setattr("pagoda.index.in_process.passing._LISTED", 5)
    monkeypatch.setattr("pagoda.index.in_process.passing._NAMED", 1)
    rivers = tuple(item for item in range(ROWS) if item % 2 == 0)
    assert found(built, "rivers no11", 3, {"kind": "kind 1"}, rivers).ids.tolist() == [11]
    assert max(asked) < ROWS / 2


def test_a_change_of_a_few_has_the_words_of_no_other_changed_item_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(texts: pa.Array) -> TextIndex:
        counts.append(len(texts))
        return text_in_memory(texts)

    def change(first: int, count: int, said: str) -> None:
        table = titled(count, first).drop_columns("title").append_column("title", pa.array([said] * count))
        jobs.upsert(NAME, with_texts(vectors_batch(SPEC, table, unit_vectors(count)), texts_of(table, ["title"])))

    counts: list[int] = []
    monkeypatch.setattr("pagoda.index.in_process.text_index.text_in_memory", read)
    build(tmp_path)
    jobs, reader = FolderCollections(tmp_path), FolderCollections(tmp_path)
    change(100, 200, "old lakes")
    assert len(found(reader, "lakes").ids) == 200
    for item in range(100, 140):
        change(item, 1, "new lakes")
        if item % 3:
            assert set(found(reader, "new lakes", item - 99).ids.tolist()) == set(range(100, item + 1))
    jobs.delete(NAME, np.array([120, 250]))
    change(700, 1, "new lakes")
    assert set(found(reader, "new").ids.tolist()) == {*range(100, 140), 700} - {120}
    assert set(found(reader, "old").ids.tolist()) == set(range(140, 300)) - {250}
    assert found(reader, "old", wanted={"kind": "none"}).ids.tolist() == []
    fresh = FolderCollections(tmp_path)
    assert set(found(fresh, "lakes").ids.tolist()) == set(found(reader, "lakes").ids.tolist())
    assert sum(counts[:-1]) < 200 + 40 * 8, "all of them each time would be thousands"
