"""IDs as numbers, each once."""

from __future__ import annotations

import tempfile
from itertools import chain
from pathlib import Path

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pagoda.data.checks.id_ledger import IdLedger

ids = st.one_of(st.integers(-3, 20), st.integers(-(1 << 63), (1 << 63) - 1))


@settings(max_examples=30)
@given(st.lists(st.lists(ids, max_size=9), max_size=6))
@example([[-5, 3], [-5, 1 << 40, 3]])
def test_ids_of_any_size_come_once_each_and_in_order(batches: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = IdLedger("user_id", Path(folder), distinct=True, budget_bytes=32)
        for batch in batches:
            ledger.add(pa.array(batch, pa.int64()), "log.csv", 1)
        found = [one for keys in ledger.distinct_keys() for one in keys.to_pylist()]
    assert found == sorted(set(chain(*batches)))
