"""Filters in memory mean what they mean in Milvus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.spec import Categorical, FeatureSpec, MultiValued, Numeric
from pagoda.item_vectors.fields import MISSING_NUMBER
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.matching import matching

SPEC = FeatureSpec(
    features=(
        Categorical(name="language", tower="item", filterable=True),
        MultiValued(name="genres", tower="item", filterable=True),
        Numeric(name="year", tower="item", edges=(1990,), filterable=True),
    )
)
ITEMS = pa.table(
    {
        "language": ["en", "de", "", "en"],
        "genres": [["a", "b"], ["b"], [], ["a"]],
        "year": [1980.0, 1990.0, MISSING_NUMBER, 2000.0],
    }
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [1, 1, 1, 1]),
        ({"language": "en"}, [1, 0, 0, 1]),
        ({"language": ["en", "de"]}, [1, 1, 0, 1]),
        ({"language": {"none": ["en"]}}, [0, 1, 1, 0]),
        ({"genres": "a"}, [1, 0, 0, 1]),
        ({"genres": {"all": ["a", "b", "a"]}}, [1, 0, 0, 0]),
        ({"genres": {"none": ["b"]}}, [0, 0, 1, 1]),
        ({"year": 1990}, [0, 1, 0, 0]),
        ({"year": {"lte": 1990}}, [1, 1, 0, 0]),
        ({"year": {"gt": 1980, "lt": 2000}}, [0, 1, 0, 0]),
        ({"year": {"gte": 1980}, "genres": ["a"]}, [1, 0, 0, 1]),
    ],
)
def test_each_condition(wanted: dict[str, Any], expected: list[int]) -> None:
    assert matching(ITEMS, FilterParser(SPEC).parse(wanted)).astype(np.int64).tolist() == expected
