"""Filters of requests over items in memory: the same meaning as `Filters.expression` has for Milvus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.spec import FeatureSpec
from pagoda.item_vectors.fields import MISSING_NUMBER, FilterField, filter_fields

Mask = NDArray[np.bool_]
_COMPARE = {"gte": np.greater_equal, "gt": np.greater, "lte": np.less_equal, "lt": np.less}


def matching(spec: FeatureSpec, items: pa.Table, wanted: Mapping[str, Any]) -> Mask:
    """Which items satisfy a filter that `Filters.expression` took, bool [n].

    Args:
        spec: The feature declaration.
        items: n rows with the filter columns of `item_vectors.parquet`.
        wanted: By feature, as in a request.
    """
    fields = {field.name: field for field in filter_fields(spec)}
    found = np.ones(len(items), np.bool_)
    for name, condition in wanted.items():
        found &= _matches(fields[name], items[name].combine_chunks(), condition)
    return found


def _matches(field: FilterField, column: pa.Array, condition: Any) -> Mask:
    if field.kind == "number":
        return _number(column.to_numpy(zero_copy_only=False), condition)
    operators = condition if isinstance(condition, Mapping) else {"any": condition}
    found = np.ones(len(column), np.bool_)
    for operator, value in operators.items():
        texts = [str(one) for one in (value if isinstance(value, list | tuple) else [value])]
        hits = _hits(column, texts) if field.kind == "texts" else _is_in(column, texts)
        found &= {"any": hits > 0, "none": hits == 0, "all": hits == len(set(texts))}[operator]
    return found


def _number(values: NDArray[np.float64], condition: Any) -> Mask:
    if not isinstance(condition, Mapping):
        return np.isin(values, condition if isinstance(condition, list | tuple) else [condition])
    found: Mask = values > MISSING_NUMBER
    for operator, value in condition.items():
        found &= _COMPARE[operator](values, float(value))
    return found


def _is_in(column: pa.Array, texts: list[str]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.is_in(column, pa.array(texts, column.type)).to_numpy(zero_copy_only=False) + 0
    return found


def _hits(column: pa.ListArray, texts: list[str]) -> NDArray[np.int64]:
    """How many of `texts` each list holds, int64 [n]."""
    parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    values = column.flatten()
    found = np.zeros(len(column), np.int64)
    for text in set(texts):
        found += np.bincount(parents[pc.equal(values, text).to_numpy(zero_copy_only=False)], minlength=len(column)) > 0
    return found
