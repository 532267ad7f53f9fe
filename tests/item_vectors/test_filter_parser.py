"""A request's filter is checked against the declaration, and means the same however it is written."""

from __future__ import annotations

from typing import Any

import pytest

from pagoda.errors import RequestError
from pagoda.item_vectors.fields import MISSING_NUMBER
from pagoda.item_vectors.filter import EVERYTHING, Condition
from pagoda.item_vectors.filter_parser import FilterParser

from .worlds import SPEC


def test_a_filter_is_its_conditions_in_order() -> None:
    wanted = {"genres": {"all": ["Drama"], "none": "War"}, "release_year": {"lt": 2000}, "kind": 7}
    assert tuple(FilterParser(SPEC).parse(wanted)) == (
        Condition("genres", "texts", "all", ("Drama",)),
        Condition("genres", "texts", "none", ("War",)),
        Condition("release_year", "number", "lt", (2000.0,)),
        Condition("release_year", "number", "gt", (MISSING_NUMBER,)),  # an item without a number is not below 2000
        Condition("kind", "text", "any", ("7",)),
    )


def test_searches_that_want_the_same_can_be_joined() -> None:
    one, same, other = (FilterParser(SPEC).parse({"kind": kind}) for kind in ("film", ["film"], "play"))
    assert (hash(one), one) == (hash(same), same)
    assert one != other


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_filter_wants_everything(nothing: Any) -> None:
    assert FilterParser(SPEC).parse(nothing) == EVERYTHING
    assert not EVERYTHING


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
        FilterParser(SPEC).parse(wanted)
