"""An ID table gives back what was written, and refuses what was damaged."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.embeddings import sorted_ids
from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.embeddings.table import IdTable
from pagoda.errors import ConflictError, DataError, IntegrityError
from pagoda.storage.checksums import checksum_file

INT64 = st.integers(-(2**63), 2**63 - 1)


def make_rows(count: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, dim), dtype=np.float32)


@pytest.fixture
def table(tmp_path: Path) -> IdTable:
    IdTable.write(tmp_path / "t", np.array([30, -10, 20]), make_rows(3), np.full(4, 9, np.float32))
    return IdTable.open(tmp_path / "t", verify=True)


def test_lookup_gives_rows_of_known_ids_and_the_oov_row_otherwise(table: IdTable) -> None:
    rows, found = table.lookup(np.array([20, 21, -10, 20]))
    np.testing.assert_array_equal(found, [True, False, True, True])
    expected = make_rows(3)
    np.testing.assert_array_equal(rows, [expected[2], np.full(4, 9), expected[1], expected[2]])


def test_an_empty_table_knows_nobody(tmp_path: Path) -> None:
    IdTable.write(tmp_path / "t", np.zeros(0, np.int64), np.zeros((0, 3), np.float32), np.ones(3, np.float32))
    rows, found = IdTable.open(tmp_path / "t", verify=True).lookup(np.array([1, 2]))
    assert not found.any()
    np.testing.assert_array_equal(rows, np.ones((2, 3)))


@pytest.mark.parametrize("size", [64, 65, 127, 128, 1000])
def test_search_agrees_with_a_set_whatever_the_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_ids, "_PLAIN", 10)
    monkeypatch.setattr(sorted_ids, "_QUERIES", 100)
    generator = np.random.default_rng(size)
    ids = np.unique(generator.integers(-1000, 1000, size * 2))[:size]
    queries = np.concatenate([np.arange(-1002, 1002), [np.iinfo(np.int64).min, np.iinfo(np.int64).max]])
    positions, found = SortedIds(ids).find(queries)
    np.testing.assert_array_equal(found, np.isin(queries, ids))
    np.testing.assert_array_equal(ids[positions[found]], queries[found])


@settings(max_examples=50)
@given(ids=st.sets(INT64, max_size=300), queries=st.lists(INT64, max_size=50))
def test_search_agrees_with_a_dict_on_any_ids(ids: set[int], queries: list[int]) -> None:
    ordered = np.array(sorted(ids), np.int64)
    wanted = np.array([*queries, *list(ids)[:20]], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_ids, "_PLAIN", 64)
        positions, found = SortedIds(ordered).find(wanted)
    assert found.tolist() == [query in ids for query in wanted.tolist()]
    np.testing.assert_array_equal(ordered[positions[found]], wanted[found])


@pytest.mark.parametrize("name", ["ids.npy", "rows.npy", "oov.npy", "table.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
def test_damage_is_refused_by_name(table: IdTable, name: str, damage: str) -> None:
    path = table.folder / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-3])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        content[-2] ^= 1
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        IdTable.open(table.folder, verify=True)


def test_a_truncated_file_is_refused_without_reading_it(table: IdTable) -> None:
    path = table.folder / "rows.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"rows\.npy"):
        IdTable.open(table.folder)


def test_written_checksums_are_those_of_the_files(table: IdTable) -> None:
    for name, checksum in table.description.files.items():
        assert checksum_file(table.folder / name) == checksum


@pytest.mark.parametrize(
    ("ids", "rows", "says"),
    [
        ([1, 1], make_rows(2), "ID 1 occurs twice"),
        ([1, 2], make_rows(3), "do not fit"),
        ([5, 2], np.array([[1, 1, 1, 1], [1, np.nan, 1, 1]], np.float32), "ID 2 is not finite"),
    ],
)
def test_bad_tables_are_refused_and_leave_nothing(tmp_path: Path, ids: list[int], rows: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        IdTable.write(tmp_path / "t", np.array(ids), rows, np.zeros(4, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_never_rewritten(table: IdTable) -> None:
    with pytest.raises(ConflictError):
        IdTable.write(table.folder, np.array([1]), make_rows(1), np.zeros(4, np.float32))
