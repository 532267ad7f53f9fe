"""Hashes of string IDs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.ids import hash_ids, look_like_numbers, whole_number
from pagoda.data.imports.sequences import import_sequences
from pagoda.data.spec import FeatureSpec
from pagoda.errors import DataError, RequestError
from pagoda.item_changes.changes import item_id_of
from serving.http.features import read_ids
from serving.users.forgetting import parse_user

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


@pytest.mark.parametrize("text", ["1_0", "\u0661\u0660", "010", "+10", "-0", " 10", "1e1", "10.0", "", str(2**63)])
def test_a_whole_number_is_read_only_as_it_is_written_out(text: str) -> None:
    assert whole_number(text) is None


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_id_can_be_written_and_read_again(number: int) -> None:
    assert whole_number(str(number)) == number


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        (["1", None, "-20", "9" * 18], True),
        (["1", "010"], False),
        (["1", str(10**18)], False),  # Those after it may be too large.
        (["1", "\u0661"], False),
        ([1.0, None], True),
    ],
)
def test_ids_look_like_numbers_where_all_surely_are(ids: list[object], numbers: bool) -> None:
    assert look_like_numbers(pa.array(ids)) == numbers


@pytest.mark.parametrize("text", ["1_0", "\u0661\u0660", "010"])
def test_no_command_takes_other_text_for_a_number(text: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        parse_user(FeatureSpec(), text)
    with pytest.raises(RequestError, match="IDs of this dataset are integers"):
        item_id_of(FeatureSpec(), text)
    with pytest.raises(RequestError):
        read_ids(FeatureSpec(), [text], "user_id")
    (tmp_path / "file").write_text(f"1 2 3 {text}\n")
    with pytest.raises(DataError, match="line 1: expected integers"):
        import_sequences(tmp_path / "data", tmp_path / "file")


def test_the_vectors_that_other_engines_are_given_are_our_hashes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    vectors = dict(re.findall(r"^\| `([^`]+)` \| `(-?\d+)` \|$", page, re.MULTILINE))
    assert len(vectors) == 4
    assert hash_ids(list(vectors)).tolist() == list(map(int, vectors.values()))
