"""An ID without a row of its own has the sum of two that it shares: the same two wherever it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.ids import NOBODY, hash_ids
from pagoda.data.window import Window, from_us
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.shared_rows import shared_places
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.errors import DataError, IntegrityError

IDS = np.array([-5, 3, 8])
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
SHARED = 10.0 ** np.arange(5, dtype=np.float32)[:, None] * np.ones(2, np.float32)
OOV = np.full(2, -1, np.float32)


def sums(ids: np.ndarray) -> np.ndarray:
    return SHARED[shared_places(ids, len(SHARED))].sum(1)


@pytest.fixture
def table(tmp_path: Path) -> IdTable:
    order = np.array([2, 0, 1])
    IdTable.write(tmp_path / "users", IDS[order], ROWS[order], OOV, SHARED)
    return IdTable.open(tmp_path / "users", verify=True)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.integers(2, 2**40))
def test_an_id_has_two_rows_and_never_one_twice(values: list[int], rows: int) -> None:
    ids = np.array(values, np.int64)
    places = shared_places(ids, rows)
    assert (places[:, 0] != places[:, 1]).all()
    assert ((places >= 0) & (places < rows)).all()
    np.testing.assert_array_equal(places[::-1], shared_places(ids[::-1], rows))


def test_the_rows_of_an_id_are_the_same_in_every_release() -> None:
    places = shared_places(np.array([0, 1, -1, 2**62]), 1_000_003)
    assert places.tolist() == [[431482, 888684], [610157, 567395], [227269, 642501], [216579, 958583]]


def test_counted_ids_are_spread_evenly_and_hardly_two_have_the_same_pair() -> None:
    places = shared_places(np.arange(100_000), 1000)
    loads = np.bincount(places.ravel(), minlength=1000)
    # 200 a row on average: six standard deviations of a Poisson distribution.
    assert loads.min() > 115
    assert loads.max() < 285
    pairs = np.sort(shared_places(np.arange(1000), 1000), axis=1)
    assert len(np.unique(pairs, axis=0)) > 995


def test_own_rows_come_first_then_sums_of_shared_ones(table: IdTable) -> None:
    rows, found = table.lookup(np.array([99, 3, 9, -5, 100]))
    assert found.tolist() == [False, True, False, True, False]
    np.testing.assert_array_equal(rows[found], ROWS[[1, 0]])
    np.testing.assert_array_equal(rows[~found], sums(np.array([99, 9, 100])))
    assert len(table) == 3
    np.testing.assert_array_equal(table.rows, ROWS)


def test_nobody_has_what_no_user_taught(table: IdTable) -> None:
    nobody = np.array([NOBODY["int64"], *hash_ids([str(NOBODY["string"])]), 99])
    rows, found = table.lookup(nobody)
    np.testing.assert_array_equal(rows, [OOV, OOV, *sums(nobody[2:])])
    assert not found.any()


def test_a_segment_lies_over_shared_rows_too(table: IdTable, tmp_path: Path) -> None:
    window, learned = Window(start=from_us(0), end=from_us(1)), np.full((1, 2), 7, np.float32)
    about = {"base_checksum": table.checksum, "base_version": 1, "window": window, "parent": None}
    Segment.write(tmp_path / "segment", np.array([99]), learned, **about)
    rows, known = Overlay(table, [Segment.open(tmp_path / "segment")]).lookup(np.array([100, 99, 8]))
    assert known.tolist() == [False, True, True]
    np.testing.assert_array_equal(rows, np.concatenate([sums(np.array([100])), learned, ROWS[2:]]))


def test_a_host_serves_them_as_they_were_trained(table: IdTable, tmp_path: Path) -> None:
    IdTable.write(tmp_path / "items", IDS, ROWS, OOV)
    (tmp_path / "encoder.json").write_text("{}")
    writer = TablesWriter(tmp_path / "host")
    writer.install_full(1, str(tmp_path))
    writer.put_generation("g1", 1, [])
    served = TowerTables(tmp_path / "host", 1).generation("g1")
    asked = np.array([3, 99, 12345])
    for ours, theirs in zip(served.users.lookup(asked), table.lookup(asked), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_tables_without_shared_rows_have_the_files_of_before(tmp_path: Path) -> None:
    IdTable.write(tmp_path / "users", IDS, ROWS, OOV)
    assert "shared" not in (tmp_path / "users" / "table.json").read_text()


def test_a_shared_row_that_is_damaged_or_not_finite_is_named(table: IdTable, tmp_path: Path) -> None:
    path = table.folder / "rows.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"rows\.npy"):
        IdTable.open(table.folder, verify=True)
    wrong = SHARED.copy()
    wrong[4] = np.nan
    with pytest.raises(DataError, match="shared row 4 is not finite"):
        IdTable.write(tmp_path / "other", IDS, ROWS, OOV, wrong)
