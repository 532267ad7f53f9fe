"""Raw feature values as a collection stores them: no nulls, bounded lengths."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.limits import MAX_TEXT_BYTES, MAX_VALUES
from pagoda.data.checks.problems import shown
from pagoda.errors import DataError
from pagoda.item_vectors.fields import ITEM_KEY, FilterField


def filter_column(field: FilterField, raw: pa.Array, ids: pa.Array) -> pa.Array:
    """`raw` as the column of `field`: its type, with its default where a value is missing.

    Args:
        field: The filterable feature.
        raw: Column of the items table.
        ids: [rows], as the dataset's files have them, to name an item in an error.

    Raises:
        DataError: A string or a list is longer than a collection takes; the message names item, column and length.
    """
    if field.kind == "number":
        numbers = pc.cast(raw, pa.float64())
        return pc.fill_null(pc.if_else(pc.is_finite(numbers), numbers, None), field.default)
    if field.kind == "text":
        texts = pc.fill_null(pc.cast(raw, pa.string()), field.default)
        _refuse_long(field.name, pc.binary_length(texts), ids, MAX_TEXT_BYTES, "bytes")
        return texts
    return _lists(field, raw, ids)


def key_column(raw: pa.Array) -> pa.Array:
    """String IDs as a collection stores them.

    Raises:
        DataError: One is longer than a collection takes.
    """
    _refuse_long(ITEM_KEY, pc.binary_length(raw), raw, MAX_TEXT_BYTES, "bytes")
    return raw


def _lists(field: FilterField, raw: pa.Array, ids: pa.Array) -> pa.Array:
    lists = pc.cast(raw, pa.list_(pa.string()))
    missing = pa.scalar(list(field.default), pa.list_(pa.string())) if isinstance(field.default, tuple) else None
    lists = pc.fill_null(lists, missing)
    lengths, values = pc.list_value_length(lists), lists.flatten()
    kept = pc.is_valid(values)
    if not pc.all(kept).as_py():
        parents = pc.list_parent_indices(lists).filter(kept)
        lengths = pa.array(np.bincount(parents.to_numpy(), minlength=len(lists)), pa.int32())
        values = values.filter(kept)
    _refuse_long(field.name, lengths, ids, MAX_VALUES, "values")
    owners = ids.take(pa.array(np.repeat(np.arange(len(ids)), lengths.to_numpy(zero_copy_only=False))))
    _refuse_long(field.name, pc.binary_length(values), owners, MAX_TEXT_BYTES, "bytes")
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _refuse_long(name: str, lengths: pa.Array, ids: pa.Array, limit: int, unit: str) -> None:
    sizes = lengths.to_numpy(zero_copy_only=False)
    if (wrong := np.flatnonzero(sizes > limit)).size:
        at = wrong[0]
        item = shown(ids[int(at)])
        raise DataError(f"item {item}, column {name!r}: {sizes[at]} {unit}; a collection takes {limit} at most")
