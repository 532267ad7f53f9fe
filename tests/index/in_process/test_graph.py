"""A graph finds what comparing all would find, whatever is asked for and whatever has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.index.base import Hits
from pagoda.index.in_process import vector_index
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.matching import matching
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors

NAME, ROWS, FEW = "items", 2000, 40
VECTORS, QUERIES = unit_vectors(ROWS), unit_vectors(20, seed=3)
ITEMS = pa.table(vectors_batch(SPEC, items_table(ROWS), VECTORS))
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


@pytest.fixture(scope="module", autouse=True)
def walked() -> Iterator[None]:
    """Graphs of so few items are walked, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_index, "_COMPARED", 0)
        yield


@pytest.fixture(scope="module", params=["HNSW", "IVF_FLAT", "HNSW_SQ8", "IVF_SQ8"])
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
    best = search(both[1], None, k=600, effort=128)[0].ids.tolist()
    found = search(both[0], None, k=100, effort=128, excluded=best[:500])[0].ids
    assert len(found) == 100
    assert not set(best[:500]) & set(found.tolist())
    assert np.isin(found, best[500:]).mean() > 0.95


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of so few items that each is linked to each."""
    folder = tmp_path_factory.mktemp("linked")
    build(folder, FEW, CollectionConfig(m=32))
    return folder


CHANGES = st.lists(st.tuples(st.integers(0, FEW + 10), st.booleans()), max_size=6)


@settings(max_examples=30)
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
    parsed = FilterParser(SPEC).parse(wanted)
    kept = matching(ITEMS.take(sorted(there)), parsed)
    assert collections.kept(NAME, parsed) == (kept.sum(), len(there))
    ids = ids[matching(ITEMS.take(ids), parsed)]
    scores = QUERIES @ np.array([there[item] for item in ids.tolist()], np.float32).reshape(-1, 16).T
    hits = collections.search(NAME, QUERIES, k, effort=FEW, wanted=parsed, excluded=excluded)
    assert [found.ids.tolist() for found in hits] == ids[np.argsort(-scores, axis=1)[:, :k]].tolist()
