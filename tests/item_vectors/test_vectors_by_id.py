"""What is found by codes is scored again by the vectors themselves, also of items that were changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import IntegrityError
from pagoda.item_vectors.changed_columns import VECTORS, ChangedColumns
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById, write_vectors_by_id
from tests.item_vectors.worlds import SPEC, unit_vectors, write_vectors

ROWS, QUERY = 500, unit_vectors(1, seed=3)[0]
TOLERANCE = 5e-4
"""Of a cosine of vectors in float16."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vectors(tmp_path / "v.parquet", ROWS)
    write_vectors_by_id(tmp_path, ItemVectors(tmp_path / "v.parquet", SPEC), SPEC)
    return tmp_path


def test_the_best_are_chosen_by_exact_scores_whatever_the_codes_said(folder: Path) -> None:
    originals = VectorsById(folder / IDS_FILE, folder / VECTORS_FILE)
    found = np.random.default_rng(0).permutation(ROWS)
    places, scores = originals.best(QUERY, found, np.zeros(ROWS, np.float32), 10)
    exact = unit_vectors(ROWS) @ QUERY
    assert np.allclose(scores, np.sort(exact)[::-1][:10], atol=TOLERANCE)
    assert np.allclose(exact[found[places]], scores, atol=TOLERANCE)


def test_a_changed_item_counts_as_it_is_now_and_a_new_one_by_its_code(folder: Path) -> None:
    originals = VectorsById(folder / IDS_FILE, folder / VECTORS_FILE)
    originals.change(np.array([7, ROWS]), np.stack([QUERY, -QUERY]).astype(np.float16))
    found = np.array([5, 7, ROWS, ROWS + 1])
    places, scores = originals.best(QUERY, found, np.array([0, 0, 0, 0.999], np.float32), 9)
    assert found[places[[0, 1, -1]]].tolist() == [7, ROWS + 1, ROWS]
    assert np.allclose(scores[[0, 1, -1]], [1, 0.999, -1], atol=TOLERANCE)


def test_files_that_are_damaged_are_named(folder: Path) -> None:
    (folder / VECTORS_FILE).write_bytes((folder / VECTORS_FILE).read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=VECTORS_FILE):
        VectorsById(folder / IDS_FILE, folder / VECTORS_FILE)


def test_any_number_of_workers_add_changes_and_none_is_missed(folder: Path) -> None:
    one, other = (ChangedColumns(f"file://{folder}/originals/{VECTORS_FILE}") for _ in range(2))
    rows = unit_vectors(9, seed=5)

    def add(worker: ChangedColumns, number: int, *ids: int) -> None:
        worker.add(number, np.array(ids), {VECTORS: rows[[number + item for item in ids]].astype(np.float16)})

    add(one, 1, 3, 1)
    add(other, 2, 3)
    add(one, 2, 3)
    add(other, 1, 3, 1)  # It was slow, and what it says is outdated.
    add(one, 4, 0)
    ids, columns = one.read(other.newest()) or pytest.fail("there is none")
    assert (one.newest(), ids.tolist()) == (4, [0, 1, 3])
    assert np.allclose(columns[VECTORS], rows[[4, 2, 5]], atol=TOLERANCE)
    assert one.read(1) is None, "files of before do not pile up"
