from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, RequestError, UnavailableError
from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import Collections
from pagoda.item_vectors.filters import Filters
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.masking import masked
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

pytestmark = pytest.mark.integration
NAME = "collection_test"
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


@pytest.fixture(scope="module")
def collections(milvus_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collections]:
    path = tmp_path_factory.mktemp("vectors") / "v.parquet"
    write_vectors(path, 700)
    server = Collections(milvus_uri)
    build_collection(server, NAME, path, SPEC, queries=unit_vectors(5))
    yield server
    server.drop(NAME)
    server.close()


def _matching(collections: Collections, wanted: dict[str, Any] | None, excluded: np.ndarray | None = None) -> set[int]:
    expression = Filters(SPEC).expression(wanted, excluded)
    hits = collections.search(NAME, unit_vectors(1), 1000, effort=1000, expression=expression)[0]
    return set(hits.ids.tolist())


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
def test_the_server_understands_a_filter_as_we_do(collections: Collections, wanted: dict[str, Any], holds: Any) -> None:
    expected = {row["item_id"] for row in items_table(700).to_pylist() if holds(row)}
    assert expected
    assert _matching(collections, wanted) == expected


def test_excluded_items_do_not_come_back(collections: Collections) -> None:
    excluded = np.array([1, 2, 3, 699, -(2**63), 2**63 - 1])
    assert _matching(collections, None, excluded) == set(range(700)) - {1, 2, 3, 699}


def test_any_string_can_be_filtered_by(milvus_uri: str, tmp_path: Path) -> None:
    collections, name, path = Collections(milvus_uri), "nasty_strings", tmp_path / "v.parquet"
    spec = SPEC.model_copy(update={"id_type": "string"})
    items = items_table(len(NASTY)).set_column(1, "kind", pa.array(NASTY))
    items = items.set_column(2, "genres", pa.array([[text] for text in NASTY]))
    with ItemVectorsWriter(path, spec, 16) as writer:
        writer.write(items.append_column("item_key", pa.array(NASTY)), unit_vectors(len(NASTY)))
    collections.drop(name)
    build_collection(collections, name, path, spec, queries=unit_vectors(5))
    try:
        for row, text in enumerate(NASTY):
            for wanted in ({"kind": text}, {"genres": {"all": text}}):
                expression = Filters(spec).expression(wanted)
                hits = collections.search(name, unit_vectors(1), 50, effort=50, expression=expression, keys=True)[0]
                assert (hits.ids.tolist(), hits.keys) == ([row], [text])
    finally:
        collections.drop(name)


def test_a_search_of_more_than_the_effort_is_answered_best_first(collections: Collections) -> None:
    hits = collections.search(NAME, unit_vectors(3, seed=9), 300, effort=8)
    assert [len(found.ids) for found in hits] == [300, 300, 300]
    assert all((np.diff(found.scores) <= 0).all() for found in hits)


def test_errors_name_the_collection_and_the_server(collections: Collections, unused_tcp_port: int) -> None:
    query = unit_vectors(1)
    with pytest.raises(
        IntegrityError, match=rf"'absent' at {re.escape(masked(collections.uri))}: the collection does not exist"
    ):
        collections.count("absent")
    with pytest.raises(RequestError, match="cannot read the filter"):
        collections.search(NAME, query, 5, effort=8, expression="nonsense ==")
    with pytest.raises(UnavailableError, match=NAME):
        collections.search(NAME, query[:, :4], 5, effort=8)
    nobody = Collections(f"http://127.0.0.1:{unused_tcp_port}", timeout_seconds=1)
    with pytest.raises(UnavailableError, match=rf"search|index state.*{NAME}.*{unused_tcp_port}"):
        nobody.search(NAME, query, 5, effort=8)


def test_ids_alone_need_no_filter_column(milvus_uri: str, tmp_path: Path) -> None:
    collections, path = Collections(milvus_uri), tmp_path / "v.parquet"
    ids = np.array([-(2**63) + 1, -5, 0, 2**63 - 1])
    with ItemVectorsWriter(path, FeatureSpec(), 16) as writer:
        writer.write(pa.table({"item_id": ids}), unit_vectors(4))
    try:
        report = build_collection(collections, "ids_alone", path, FeatureSpec(), queries=unit_vectors(2))
        assert (report.rows, report.recall_at_100) == (4, 1.0)
        assert set(collections.search("ids_alone", unit_vectors(1), 9, effort=9)[0].ids.tolist()) == set(ids.tolist())
    finally:
        collections.drop("ids_alone")
