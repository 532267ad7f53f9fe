"""A graph finds what comparing all would find, whatever is asked for and whatever has changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.index.base import Hits
from pagoda.index.in_process import vector_index
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors

NAME, ROWS, FEW = "items", 6000, 40
VECTORS, QUERIES = unit_vectors(ROWS), unit_vectors(20, seed=3)
FILTERS = [
    None,
    {"release_year": {"lt": 1999}},
    {"release_year": [1951]},
    {"kind": "none is"},
    {"kind": {"none": ["kind 1"]}},
]


def build(folder: Path, rows: int, config: CollectionConfig) -> FolderCollections:
    """A collection of the first items."""
    collections = FolderCollections(folder)
    collections.create(NAME, 16, filter_fields(SPEC), keys=False, description="")
    collections.insert(NAME, vectors_batch(SPEC, items_table(rows), VECTORS[:rows]))
    collections.start_index(NAME, config)
    collections.load(NAME)
    return collections


@pytest.fixture(scope="module", params=["HNSW", "IVF_FLAT"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[FolderCollections]:
    """The same items behind an approximate index and compared one by one."""
    folder = tmp_path_factory.mktemp("graph")
    return [build(folder / kind, ROWS, CollectionConfig(kind=kind)) for kind in (request.param, "FLAT")]


def search(collections: FolderCollections, wanted: Any, **asked: Any) -> list[Hits]:
    return collections.search(NAME, QUERIES, wanted=FilterParser(SPEC).parse(wanted), **asked)


@pytest.mark.parametrize("wanted", FILTERS)
def test_filters_of_any_strictness_find_nearly_all(both: list[FolderCollections], wanted: Any) -> None:
    found, true = (search(collections, wanted, k=50, effort=128) for collections in both)
    assert [len(hits.ids) for hits in found] == [len(hits.ids) for hits in true]
    shares = [np.isin(hits.ids, best.ids).mean() for hits, best in zip(found, true, strict=True) if len(best.ids)]
    assert not shares or np.mean(shares) > 0.98


def test_as_many_come_as_there_are_even_where_the_graph_leads_to_few(
    both: list[FolderCollections], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index.VectorIndex, "plan", lambda *_: 1)
    for kind in (vector_index._Graph, vector_index._Lists):
        monkeypatch.setattr(kind, "plan", lambda *_: 1)
    found, true = (search(collections, {"release_year": [1951]}, k=50, effort=1) for collections in both)
    assert [hits.ids.tolist() for hits in found] == [hits.ids.tolist() for hits in true]


def test_what_a_user_has_had_leaves_room_for_the_rest(both: list[FolderCollections]) -> None:
    best = search(both[1], None, k=150, effort=128)[0].ids.tolist()
    found = search(both[0], None, k=100, effort=128, excluded=best[:50])[0].ids
    assert len(found) == 100
    assert not set(best[:50]) & set(found.tolist())
    assert np.isin(found, best[50:]).mean() > 0.9


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A graph of so few items that each is linked to each, and which is searched all the same."""
    folder = tmp_path_factory.mktemp("linked")
    build(folder, FEW, CollectionConfig(m=32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_index, "_COMPARED", 0)
        yield folder


CHANGES = st.lists(st.tuples(st.integers(0, FEW + 10), st.booleans()), max_size=6)


@given(CHANGES, st.sampled_from(FILTERS), st.lists(st.integers(0, FEW + 10), max_size=5), st.integers(1, FEW + 5))
def test_any_filter_over_any_changes_is_answered_as_by_exact_search(
    linked: Path, changes: Sequence[tuple[int, bool]], wanted: Any, excluded: list[int], k: int
) -> None:
    collections = FolderCollections(linked)
    (linked / NAME / "overlay.arrow").unlink(missing_ok=True)
    there = dict(enumerate(VECTORS[:FEW]))
    for number, (item, stays) in enumerate(changes):
        if stays:
            there[item] = VECTORS[1000 + number]
            collections.upsert(NAME, vectors_batch(SPEC, items_table(1, item), there[item][None]))
        else:
            there.pop(item, None)
            collections.delete(NAME, np.array([item]))
    ids = np.array(sorted(there.keys() - set(excluded)), np.int64)
    items = pa.concat_tables([items_table(0), *(items_table(1, int(item)) for item in ids)])
    exact = FolderCollections(linked / "exact")
    exact.drop(NAME)
    exact.create(NAME, 16, filter_fields(SPEC), keys=False, description="")
    exact.insert(NAME, vectors_batch(SPEC, items, np.array([there[item] for item in ids.tolist()]).reshape(-1, 16)))
    exact.start_index(NAME, CollectionConfig(kind="FLAT"))
    exact.load(NAME)
    found = search(collections, wanted, k=k, effort=FEW, excluded=excluded)
    assert [hits.ids.tolist() for hits in found] == [hits.ids.tolist() for hits in search(exact, wanted, k=k, effort=1)]
    shutil.rmtree(linked / "exact")
