"""What is asked for: filters and searches as Elasticsearch and OpenSearch take them, scores as they give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from pagoda.index.elasticsearch.dialects import DIALECTS
from pagoda.index.elasticsearch.documents import messages, put_lines
from pagoda.index.elasticsearch.filter_query import filter_query
from pagoda.index.elasticsearch.multi_search import inner_products, searches
from pagoda.item_vectors.fields import MISSING_NUMBER
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import vectors_batch
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors


@pytest.mark.parametrize(
    ("wanted", "excluded", "query"),
    [
        (None, (), None),
        ({"kind": ["film", '"]}}']}, (), {"filter": [{"terms": {"kind": ["film", '"]}}']}}]}),
        ({"kind": {"none": "film"}}, (), {"must_not": [{"terms": {"kind": ["film"]}}]}),
        (
            {"genres": {"all": ["Drama", "War"]}},
            (),
            {"filter": [{"term": {"genres": {"value": "Drama"}}}, {"term": {"genres": {"value": "War"}}}]},
        ),
        (
            {"release_year": {"lt": 2000}},
            (),
            {
                "filter": [
                    {"range": {"release_year": {"lt": 2000.0}}},
                    {"range": {"release_year": {"gt": MISSING_NUMBER}}},
                ]
            },
        ),
        (None, (-(2**63), 5), {"must_not": [{"ids": {"values": ["-9223372036854775808", "5"]}}]}),
    ],
)
def test_a_filter_becomes_a_query(wanted: Any, excluded: tuple[int, ...], query: Any) -> None:
    assert filter_query(FilterParser(SPEC).parse(wanted), excluded) == (query and {"bool": query})


def _asked(dialect: Any, kind: str, k: int, effort: int = 128, wanted: Any = None) -> Any:
    parsed = FilterParser(SPEC).parse(wanted)
    lines = searches(DIALECTS[dialect], kind, [[1.0, 0.0]], k, effort=effort, wanted=parsed, excluded=(), keys=False)
    header, body = lines.splitlines()
    assert header == b"{}" and lines.endswith(b"\n")
    return orjson.loads(body)


@pytest.mark.parametrize(
    ("k", "effort", "wanted", "candidates"),
    [(100, 128, None, 200), (10, 128, None, 128), (10, 128, {"kind": "a"}, 512), (10_000, 128, {"kind": "a"}, 10_000)],
)
def test_candidates_grow_with_k_and_under_a_filter_as_far_as_the_servers_take_them(
    k: int, effort: int, wanted: Any, candidates: int
) -> None:
    knn = _asked("elasticsearch", "HNSW", k, effort, wanted)["knn"]
    assert (knn["k"], knn["num_candidates"]) == (k, candidates)
    knn = _asked("opensearch", "HNSW", k, effort, wanted)["query"]["knn"]["vector"]
    assert (knn["k"], knn["method_parameters"]["ef_search"]) == (k, candidates)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("kind", "k"), [("FLAT", 5), ("HNSW", 10_001)])
def test_where_no_graph_can_answer_every_item_is_compared(dialect: str, kind: str, k: int) -> None:
    asked = _asked(dialect, kind, k)
    assert (asked["size"], asked["query"]["script_score"]["query"]) == (k, {"match_all": {}})


def test_scores_become_the_inner_products_that_they_were_made_of() -> None:
    products = np.array([-2.5, -1.0, -1e-7, 0.0, 1e-7, 0.3, 1.0, 40.0])
    scores = np.where(products < 0, 1 / (1 - np.minimum(products, 0)), products + 1).astype(np.float32)
    assert inner_products(scores.tolist()) == pytest.approx(products, abs=1e-6, rel=1e-6)
    assert inner_products([]).tolist() == []


def test_rows_are_sent_in_messages_of_a_bounded_size() -> None:
    batch = vectors_batch(SPEC, items_table(2500), unit_vectors(2500))
    sent = list(messages(put_lines(batch), most=100_000))
    assert max(len(message) for message, _ in sent) < 101_000
    lines = b"".join(message for message, _ in sent).splitlines()
    assert sum(items for _, items in sent) == 2500 == len(lines) // 2
    assert orjson.loads(lines[2 * 1234]) == {"index": {"_id": "1234"}}
    document = orjson.loads(lines[2 * 1234 + 1])
    assert document.keys() == {"vector", "kind", "genres", "release_year"}
    assert np.array(document["vector"], np.float32).tolist() == unit_vectors(2500)[1234].tolist()


def test_a_filter_leaves_out_nothing_that_is_asked_for_without_one() -> None:
    assert "filter" not in _asked("elasticsearch", "HNSW", 5)["knn"]
    assert filter_query(EVERYTHING, ()) is None
