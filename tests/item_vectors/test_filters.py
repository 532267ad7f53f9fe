from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pagoda.errors import RequestError
from pagoda.item_vectors.filters import Filters

from .worlds import SPEC


@pytest.mark.parametrize(
    ("wanted", "expression"),
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
def test_a_filter_becomes_an_expression(wanted: dict[str, Any] | None, expression: str) -> None:
    assert Filters(SPEC).expression(wanted) == expression


def test_excluded_ids_are_left_out_whatever_their_value() -> None:
    edges = np.array([-(2**63), 2**63 - 1, 5])
    assert Filters(SPEC).expression({"kind": "a"}, edges) == (
        'kind in ["a"] and item_id not in [9223372036854775807, 5] and item_id >= -9223372036854775807'
    )
    assert Filters(SPEC).expression(None, np.array([], dtype=np.int64)) == ""


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"colour": "red"}, r"filter\.colour: cannot be filtered by; allowed: kind, genres, release_year"),
        ({'kind == "" or kind': "x"}, "cannot be filtered by"),
        (["kind"], "filter: expected a mapping"),
        ({"kind": {"all": ["a"]}}, r"filter\.kind: unknown operator 'all'; allowed: any, none"),
        ({"kind": {"any": ["a", None]}}, r"filter\.kind\.any: expected a string, got None"),
        ({"kind": True}, "expected a string, got True"),
        ({"kind": []}, "0 values given"),
        ({"kind": ["a"] * 1001}, "1001 values given; 1 to 1000"),
        ({"kind": "x" * 2000}, "2000 bytes"),
        ({"kind": "\ud800"}, "not valid Unicode"),
        ({"genres": {}}, "the mapping is empty"),
        ({"release_year": "1990"}, r"filter\.release_year: expected a finite number, got '1990'"),
        ({"release_year": {"gte": float("nan")}}, r"filter\.release_year\.gte: expected a finite number, got nan"),
        ({"release_year": {"gte": 10**400}}, "expected a finite number"),
        ({"release_year": {"gte": [1]}}, "expected a finite number"),
        ({"release_year": {"equals": 1}}, "unknown operator 'equals'; allowed: gte, gt, lte, lt"),
        ({"release_year": False}, "expected a finite number"),
    ],
)
def test_a_bad_filter_is_refused_by_name(wanted: Any, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        Filters(SPEC).expression(wanted)
