"""Filters over items in memory: the same meaning as a search backend gives them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.item_vectors.filter import Condition, Filter

Mask = NDArray[np.bool_]
_COMPARE = {"gte": np.greater_equal, "gt": np.greater, "lte": np.less_equal, "lt": np.less}


def matching(items: pa.Table, wanted: Filter) -> Mask:
    """Which items satisfy a filter, bool [n].

    Args:
        items: n rows with the filter columns of `item_vectors.parquet`.
        wanted: All of its conditions must hold.
    """
    found = np.ones(len(items), np.bool_)
    for condition in wanted:
        found &= _matches(items[condition.field].combine_chunks(), condition)
    return found


def _matches(column: pa.Array, condition: Condition) -> Mask:
    values, operator = condition.values, condition.operator
    found: Mask
    if condition.kind == "number":
        numbers, compare = column.to_numpy(zero_copy_only=False), _COMPARE.get(operator)
        found = np.isin(numbers, values) if compare is None else compare(numbers, values[0])
        return found
    if condition.kind == "text":
        found = pc.is_in(column, pa.array(values, column.type)).to_numpy(zero_copy_only=False)
        return found if operator == "any" else ~found
    texts = frozenset(values)
    hits = _hits(column, texts)
    found = {"any": hits > 0, "none": hits == 0, "all": hits == len(texts)}[operator]
    return found


def _hits(column: pa.ListArray, texts: Collection[object]) -> NDArray[np.int64]:
    """How many of `texts` each list holds, int64 [n]."""
    parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    values = column.flatten()
    found = np.zeros(len(column), np.int64)
    for text in texts:
        found += np.bincount(parents[pc.equal(values, text).to_numpy(zero_copy_only=False)], minlength=len(column)) > 0
    return found
