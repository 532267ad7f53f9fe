"""Hashes of string IDs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.ids import hash_ids
from pagoda.errors import DataError

keys = st.lists(st.text(min_size=1, max_size=12))


@given(keys)
def test_hash_is_signed_xxh3_of_the_utf8_bytes(strings: list[str]) -> None:
    hashed = hash_ids(strings)
    assert hashed.dtype == np.int64
    assert hashed.view(np.uint64).tolist() == [xxhash.xxh3_64_intdigest(s.encode()) for s in strings]


@given(keys, st.integers(0, 5))
def test_hash_depends_on_the_string_alone(strings: list[str], cut: int) -> None:
    whole = hash_ids(strings)
    array = pa.array(strings, pa.string())
    parts = [hash_ids(array[:cut]), hash_ids(array[cut:].dictionary_encode())]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole, hash_ids(pa.chunked_array([array[:cut], array[cut:]], pa.string())))


def test_a_null_id_is_refused_by_its_row() -> None:
    with pytest.raises(DataError, match="ID 2 of 3 is null"):
        hash_ids(pa.array(["a", None, "b"]))
