"""What every search backend promises; a new one is added to `BACKENDS`, and passes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pagoda.errors import DataError, IntegrityError, UnavailableError
from pagoda.index.base import CollectionFacts, Collections, FoundItem, Hits
from pagoda.index.build import build_collection
from pagoda.index.factory import open_collections, open_search
from pagoda.index.listing import list_collections
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.matching import matching
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.masking import masked
from pagoda.settings import CollectionConfig, ElasticsearchSettings, IndexSettings, MilvusSettings, Settings
from tests.index.elasticsearch.fakes.server import running
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

BACKENDS = [
    "in_process",
    "stored",
    "elasticsearch",
    "opensearch",
    pytest.param("milvus", marks=pytest.mark.integration),
]
NAME, CHANGING = "contract_items", "contract_changing"
ROWS, EFFORT = 700, 1000
KEYED = SPEC.model_copy(update={"id_type": "string"})
NASTY = [
    'quote " quote',
    "it's",
    "back\\slash\\",
    "new\nline\ttab",
    "漢字 🏯 é",
    "{a} %s $b",
    '"] or item_id > 0 or kind in ["',
    "\x00\x1f\x7f",
    " ",
]
QUERY = unit_vectors(1)


@dataclass(frozen=True)
class Opened:
    """A backend, with the collection NAME of 700 items in it; `stored` is in_process with a store between hosts."""

    settings: Settings
    collections: Collections
    items: np.ndarray
    """Their vectors."""

    def search(self, k: int = EFFORT, wanted: Any = None, excluded: Sequence[int] = ()) -> Hits:
        """What a job finds."""
        parsed = FilterParser(SPEC).parse(wanted)
        return self.collections.search(NAME, QUERY, k, effort=EFFORT, wanted=parsed, excluded=excluded)[0]

    def recall(self, name: str, k: int, wanted: Any = None, excluded: Sequence[int] = ()) -> list[list[FoundItem]]:
        """What the recall service finds for two users."""

        async def ask() -> list[list[FoundItem]]:
            search = open_search(self.settings, lambda: None)
            parsed = FilterParser(SPEC).parse(wanted)
            try:
                vectors = unit_vectors(2, seed=4).tolist()
                return await search.search(name, vectors, k, wanted=parsed, excluded=excluded, keys=False)
            finally:
                await search.close()

        return asyncio.run(ask())

    def vectors(self, name: str, *ids: int) -> dict[int, list[float]]:
        """What the recall service reads of items."""

        async def read() -> dict[int, list[float]]:
            search = open_search(self.settings, lambda: None)
            try:
                return await search.vectors(name, ids)
            finally:
                await search.close()

        return asyncio.run(read())


@pytest.fixture(scope="module", params=BACKENDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        yield from _filled(_settings(request, folder, stack), folder)


def _settings(request: pytest.FixtureRequest, folder: Path, stack: ExitStack) -> Settings:
    match request.param:
        case "in_process":
            return Settings(home=folder, index=IndexSettings(backend="in_process"))
        case "stored":
            return Settings(home=folder, index=IndexSettings(backend="in_process", store=str(folder / "store")))
        case "milvus":
            return Settings(home=folder, milvus=MilvusSettings(uri=request.getfixturevalue("milvus_uri")))
        case dialect:
            # A fake: it answers as the documentation says, and shows that the adapter is whole, not that a server is.
            elastic = ElasticsearchSettings(url=stack.enter_context(running()).url, dialect=dialect)
            return Settings(home=folder, elasticsearch=elastic, index=IndexSettings(backend="elasticsearch"))


def _filled(settings: Settings, folder: Path) -> Iterator[Opened]:
    collections = open_collections(settings)
    vectors = write_vectors(folder / "v.parquet", ROWS)
    report = build_collection(collections, NAME, folder / "v.parquet", SPEC, queries=unit_vectors(5))
    assert (report.rows, report.reused, report.recall_at_100) == (ROWS, False, pytest.approx(1.0, abs=0.02))
    assert build_collection(collections, NAME, folder / "v.parquet", SPEC, queries=unit_vectors(5)).reused
    yield Opened(settings, collections, vectors)
    for name in (NAME, CHANGING):
        collections.drop(name)
    collections.close()


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"kind": "kind 1"}, lambda row: row["kind"] == "kind 1"),
        ({"kind": ["kind 1", "kind 2"]}, lambda row: row["kind"] in ("kind 1", "kind 2")),
        ({"kind": {"none": ["kind 1"]}}, lambda row: row["kind"] != "kind 1"),
        ({"genres": "g1"}, lambda row: "g1" in (row["genres"] or [])),
        ({"genres": {"all": ["g1", "all"]}}, lambda row: "g1" in (row["genres"] or [])),
        ({"genres": {"none": ["g1", "g2"]}}, lambda row: not {"g1", "g2"} & set(row["genres"] or [])),
        ({"release_year": {"lt": 1960}}, lambda row: row["release_year"] is not None and row["release_year"] < 1960),
        ({"release_year": {"gte": 1990}}, lambda row: row["release_year"] is not None and row["release_year"] >= 1990),
        ({"release_year": [1955, 1957]}, lambda row: row["release_year"] in (1955, 1957)),
        (
            {"kind": "kind 4", "release_year": {"gt": 1960, "lte": 2000}},
            lambda row: row["kind"] == "kind 4" and 1960 < row["release_year"] <= 2000,
        ),
    ],
)
def test_a_filter_means_the_same_to_every_backend(opened: Opened, wanted: Any, holds: Callable[[Any], bool]) -> None:
    expected = {row["item_id"] for row in items_table(ROWS).to_pylist() if holds(row)}
    assert expected
    assert set(opened.search(wanted=wanted).ids.tolist()) == expected


@pytest.mark.parametrize("wanted", [None, {"release_year": {"lt": 1985}}, {"release_year": [1951]}, {"kind": "none"}])
def test_answers_are_those_of_exact_search_where_effort_is_no_matter(opened: Opened, wanted: Any) -> None:
    items = pa.table(vectors_batch(SPEC, items_table(ROWS), opened.items))
    passing = matching(items, FilterParser(SPEC).parse(wanted))
    scores = np.where(passing, opened.items @ QUERY[0], -np.inf)
    best = np.argsort(-scores)[: min(100, passing.sum())]
    assert opened.search(k=100, wanted=wanted).ids.tolist() == best.tolist()


def test_excluded_items_do_not_come_back(opened: Opened) -> None:
    excluded = (1, 2, 3, 699, -(2**63), 2**63 - 1)
    assert set(opened.search(excluded=excluded).ids.tolist()) == set(range(ROWS)) - {1, 2, 3, 699}
    best = opened.search(k=2, wanted={"kind": "kind 1"}).ids.tolist()
    assert opened.search(k=1, wanted={"kind": "kind 1"}, excluded=best[:1]).ids.tolist() == best[1:]


def test_items_come_best_first_with_their_inner_products_and_fewer_where_there_are_fewer(opened: Opened) -> None:
    found = opened.search(k=300)
    assert len(found.ids) == 300
    assert found.scores == pytest.approx(opened.items[found.ids] @ QUERY[0], abs=1e-5)
    assert (np.diff(found.scores) <= 0).all()
    assert len(opened.search(k=EFFORT).ids) == ROWS
    assert len(opened.search(wanted={"kind": "nothing is of this kind"}).ids) == 0


def test_a_search_of_more_than_the_effort_is_answered_in_full(opened: Opened) -> None:
    hits = opened.collections.search(NAME, unit_vectors(3, seed=9), 300, effort=8)
    assert [len(found.ids) for found in hits] == [300, 300, 300]


def test_recall_finds_what_jobs_find(opened: Opened) -> None:
    wanted = {"kind": ["kind 1", "kind 2"]}
    first = opened.recall(NAME, 1, wanted)[0][0]["item_id"]
    found = opened.recall(NAME, 20, wanted, (int(first),))
    sync = opened.collections.search(
        NAME,
        unit_vectors(2, seed=4),
        20,
        effort=opened.settings.index.effort,
        wanted=FilterParser(SPEC).parse(wanted),
        excluded=(int(first),),
    )
    assert [[item["item_id"] for item in items] for items in found] == [hits.ids.tolist() for hits in sync]
    assert [item["score"] for item in found[0]] == pytest.approx(sync[0].scores.tolist())


def test_recall_reads_the_vectors_of_items_by_their_ids(opened: Opened) -> None:
    found = opened.vectors(NAME, 5, 699, 12345, 0)
    assert sorted(found) == [0, 5, 699]
    for item, vector in found.items():
        np.testing.assert_allclose(vector, opened.items[item], atol=1e-6)


def test_errors_name_the_collection_and_the_place(opened: Opened) -> None:
    absent = rf"'absent' at {re.escape(masked(opened.collections.uri))}: the collection does not exist"
    for call in (opened.collections.count, opened.collections.description):
        with pytest.raises(IntegrityError, match=absent):
            call("absent")
    assert not opened.collections.exists("absent")
    with pytest.raises(UnavailableError, match=NAME):
        opened.collections.search(NAME, QUERY[:, :4], 5, effort=8)
    for ask in (partial(opened.recall, "absent", 5), partial(opened.vectors, "absent", 1)):
        with pytest.raises(UnavailableError, match="absent") as error:
            ask()
        assert error.value.part == "index"


def test_facts_are_told_without_a_search(opened: Opened) -> None:
    facts = opened.collections.facts(NAME)
    assert facts == CollectionFacts(loaded=True, rows=ROWS, dim=16, metric="IP", kind="HNSW")
    (listed,) = (one for one in list_collections(opened.settings) if one.name == NAME)
    assert (listed.facts, listed.orphan, listed.trouble) == (facts, True, "")
    with pytest.raises(IntegrityError, match="absent"):
        opened.collections.facts("absent")


def test_what_is_not_searchable_yet_says_so(opened: Opened) -> None:
    collections = opened.collections
    collections.drop(CHANGING)
    collections.create(CHANGING, 16, filter_fields(SPEC), keys=False, description="three rows")
    assert (collections.description(CHANGING), collections.indexed_rows(CHANGING)) == ("three rows", None)
    assert {NAME, CHANGING} <= set(collections.names())
    assert not collections.loaded(CHANGING)
    facts = collections.facts(CHANGING)
    assert not facts.loaded and facts.dim == 16 and not facts.rows
    with pytest.raises(UnavailableError, match=CHANGING):
        collections.search(CHANGING, QUERY, 5, effort=8)
    with pytest.raises((DataError, UnavailableError), match=CHANGING):  # Milvus 2.3 does not say whose fault it is.
        collections.insert(CHANGING, vectors_batch(SPEC, items_table(3), unit_vectors(3, dim=8)))


def test_a_collection_grows_changes_and_goes(opened: Opened) -> None:
    collections, told = opened.collections, list[int]()
    items = items_table(len(NASTY)).set_column(1, "kind", pa.array(NASTY)).append_column("item_key", pa.array(NASTY))
    items = items.set_column(2, "genres", pa.array([[text] for text in NASTY]))
    vectors = unit_vectors(len(NASTY) + 1)
    collections.drop(CHANGING)
    collections.create(CHANGING, 16, filter_fields(KEYED), keys=True, description="strings")
    collections.insert(CHANGING, vectors_batch(KEYED, items, vectors[:-1]), told.append)
    collections.flush(CHANGING)
    collections.start_index(CHANGING, CollectionConfig())
    collections.wait_indexed(CHANGING, len(NASTY), 300.0)
    collections.load(CHANGING)
    assert collections.loaded(CHANGING)
    assert (sum(told), collections.count(CHANGING)) == (len(NASTY), len(NASTY))
    for row, text in enumerate(NASTY):
        for wanted in ({"kind": text}, {"genres": {"all": text}}):
            hits = _search(collections, wanted)
            assert (hits.ids.tolist(), hits.keys) == ([row], [text])

    changed = items.slice(2, 1).set_column(1, "kind", pa.array(["changed"]))
    new = changed.set_column(0, "item_id", pa.array([70])).set_column(
        changed.schema.get_field_index("item_key"), "item_key", pa.array(["new"])
    )
    rows = vectors_batch(KEYED, pa.concat_tables([changed, new]), vectors[-2:])
    collections.upsert(CHANGING, rows)
    collections.upsert(CHANGING, rows)  # Doing it again does no harm.
    collections.delete(CHANGING, np.array([4, 12345]))
    _soon(lambda: set(_search(collections, {"kind": "changed"}).ids.tolist()) == {2, 70})
    _soon(lambda: 4 not in _search(collections, None).ids)
    assert collections.count(CHANGING) == collections.facts(CHANGING).rows == len(NASTY)
    assert _search(collections, {"kind": "changed"}, (2,)).keys == ["new"]
    read = opened.vectors(CHANGING, 1, 2, 4, 70)
    assert sorted(read) == [1, 2, 70]
    np.testing.assert_allclose([read[1], read[2], read[70]], [vectors[1], *vectors[-2:]], atol=1e-6)

    collections.release(CHANGING)
    assert (collections.loaded(CHANGING), collections.exists(CHANGING)) == (False, True)
    with pytest.raises(UnavailableError, match=CHANGING):
        _search(collections, None)
    collections.drop(CHANGING)
    collections.drop(CHANGING)
    assert not collections.exists(CHANGING)
    assert CHANGING not in collections.names()


def _search(collections: Collections, wanted: Any, excluded: Sequence[int] = ()) -> Hits:
    parsed = FilterParser(KEYED).parse(wanted)
    return collections.search(CHANGING, QUERY, 50, effort=50, wanted=parsed, excluded=excluded, keys=True)[0]


def _soon(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
