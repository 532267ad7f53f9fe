"""Sorting and merging rows in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

_PIECE_ROWS = 65_536
"""So many are merged at a time, so that they are moved within the processor's cache."""
_SAMPLED = 256
"""One row in so many says where pieces end."""


def sort_batch(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    """The rows in order of an integer or timestamp column, stably; sorted rows are given back as they are."""
    keys = keys_of(batch, column)
    if (keys[1:] >= keys[:-1]).all():
        return batch
    if batch.num_columns == 1:
        ordered = pa.array(np.sort(keys, kind="stable")).cast(batch.schema.field(0).type)
        return pa.RecordBatch.from_arrays([ordered], schema=batch.schema)
    return batch.take(pa.array(_order(keys)))


def merged(batches: Sequence[pa.RecordBatch], column: str) -> Iterator[pa.RecordBatch]:
    """The rows of sorted batches in order; rows with equal keys in the order of their batches."""
    keys = [keys_of(batch, column) for batch in batches]
    sampled = np.sort(np.concatenate([of_one[::_SAMPLED] for of_one in keys]))
    bounds = sampled[_PIECE_ROWS // _SAMPLED :: _PIECE_ROWS // _SAMPLED]
    edges = [[0, *np.searchsorted(of_one, bounds), len(of_one)] for of_one in keys]
    for starts, ends in pairwise(zip(*edges, strict=True)):
        cut = zip(batches, starts, ends, strict=True)
        parts = [batch.slice(start, end - start) for batch, start, end in cut if start < end]
        if parts:
            yield sort_batch(pa.concat_batches(parts), column)


def keys_of(batch: pa.RecordBatch, column: str) -> np.ndarray:
    """A column of integers or timestamps as int64 [n]."""
    keys: np.ndarray = batch.column(column).cast(pa.int64()).to_numpy()
    return keys


def _order(keys: np.ndarray) -> np.ndarray:
    """As a stable argsort. NumPy's is by radix for 16 bits alone, and by runs for more, which suits few runs alone."""
    falls = np.count_nonzero(keys[1:] < keys[:-1])
    if falls < len(keys) // 16:
        return np.argsort(keys, kind="stable")
    above = keys.view(np.uint64) - keys.min().view(np.uint64)
    order = np.arange(len(keys))
    for shift in range(0, int(above.max()).bit_length(), 16):
        digits = (above[order] >> np.uint64(shift)).astype(np.uint16)
        order = order[np.argsort(digits, kind="stable")]
    return order
