"""Filters as Milvus takes them, to the byte: no text of a client ends its literal."""

from __future__ import annotations

from typing import Any

import pytest
from pymilvus import MilvusException

from pagoda.errors import RequestError, UnavailableError
from pagoda.index.milvus.expression import expression
from pagoda.index.milvus.search import MilvusSearch
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from tests.item_vectors.worlds import SPEC


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (None, ""),
        ({}, ""),
        ({"kind": "film"}, 'kind in ["film"]'),
        ({"kind": 7}, 'kind in ["7"]'),
        ({"kind": {"none": ["a", "b"]}}, 'kind not in ["a", "b"]'),
        ({"genres": ["Drama", "War"]}, 'ARRAY_CONTAINS_ANY(genres, ["Drama", "War"])'),
        (
            {"genres": {"all": ["Drama"], "none": "War"}},
            'ARRAY_CONTAINS_ALL(genres, ["Drama"]) and not ARRAY_CONTAINS_ANY(genres, ["War"])',
        ),
        ({"release_year": [1990, 1991.5]}, "release_year in [1990.0, 1991.5]"),
        (
            {"release_year": {"gte": 1990, "lt": 2000}},
            "release_year >= 1990.0 and release_year < 2000.0 and release_year > -1.7976931348623157e+308",
        ),
        ({"kind": 'a" or item_id > 0 or kind == "'}, 'kind in ["a\\" or item_id > 0 or kind == \\""]'),
    ],
)
def test_a_filter_becomes_an_expression(wanted: dict[str, Any] | None, text: str) -> None:
    assert expression(FilterParser(SPEC).parse(wanted)) == text


def test_excluded_ids_are_left_out_whatever_their_value() -> None:
    assert expression(FilterParser(SPEC).parse({"kind": "a"}), (-(2**63), 2**63 - 1, 5)) == (
        'kind in ["a"] and item_id not in [9223372036854775807, 5] and item_id >= -9223372036854775807'
    )
    assert expression(EVERYTHING, (3,)) == "item_id not in [3]"


@pytest.mark.parametrize(
    ("wanted", "said", "raised"),
    [
        ({"kind": "film"}, 'failed to create query plan: cannot parse expression: kind in ["film"]', RequestError),
        ({"kind": "film"}, "query node is not ready", UnavailableError),
        (None, "cannot parse expression: item_id not in [1]", UnavailableError),
    ],
)
async def test_a_filter_that_cannot_be_read_is_no_outage(
    monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any] | None, said: str, raised: type[Exception]
) -> None:
    search = MilvusSearch("http://127.0.0.1:9", "", 1.0, 64)

    async def fail(*_: object, **__: object) -> None:
        raise MilvusException(code=65535, message=said)

    async def nothing(*_: object) -> str:
        return "HNSW"

    monkeypatch.setattr(search._client, "search", fail)
    monkeypatch.setattr(search, "_kind", nothing)
    monkeypatch.setattr(search, "_ask_plainly", nothing)
    with pytest.raises(raised) as error:
        await search.search("c", [[1.0]], 5, wanted=FilterParser(SPEC).parse(wanted), excluded=[1], keys=False)
    assert ("filter by kind" in str(error.value)) is (raised is RequestError)
    await search.close()
