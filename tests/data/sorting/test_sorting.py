"""The external sort."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.sorting import batches as in_memory
from pagoda.data.sorting import external_sort
from pagoda.data.sorting.external_sort import ExternalSorter

batches = st.lists(st.lists(st.integers(-5, 5), max_size=6), max_size=12)


def run(batches: list[list[int]], budget_bytes: int) -> list[tuple[int, int]]:
    """Sort by key; each row carries the position at which it came."""
    arrived = 0
    with tempfile.TemporaryDirectory() as folder:
        sorter = ExternalSorter("key", Path(folder), budget_bytes)
        for keys in batches:
            columns = [pa.array(keys, pa.int64()), pa.array(range(arrived, arrived + len(keys)), pa.int64())]
            sorter.add(pa.RecordBatch.from_arrays(columns, names=["key", "arrived"]))
            arrived += len(keys)
        once = [tuple(row.values()) for batch in sorter.rows() for row in batch.to_pylist()]
        assert once == [tuple(row.values()) for batch in sorter.rows() for row in batch.to_pylist()]
    return once


@given(batches, st.integers(1, 400))
def test_sorts_stably_whatever_fits_into_memory(batches: list[list[int]], budget_bytes: int) -> None:
    keys = [key for batch in batches for key in batch]
    expected = sorted(zip(keys, range(len(keys)), strict=True), key=lambda row: row[0])
    assert run(batches, budget_bytes) == expected


@given(batches=batches, fan_in=st.integers(2, 3), spill_rows=st.integers(1, 4), budget_bytes=st.sampled_from([1, 200]))
def test_sorts_stably_in_many_passes(batches: list[list[int]], fan_in: int, spill_rows: int, budget_bytes: int) -> None:
    keys = [key for batch in batches for key in batch]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "FAN_IN", fan_in)
        patch.setattr(external_sort, "_SPILL_ROWS", spill_rows)
        patch.setattr(in_memory, "_PIECE_ROWS", spill_rows)
        patch.setattr(in_memory, "_SAMPLED", 1)
        assert run(batches, budget_bytes) == sorted(zip(keys, range(len(keys)), strict=True), key=lambda row: row[0])
