"""What the pre-ranker sees examples by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.training.full.preparation import prepare
from pagoda.training.full.preranking import _unlearned
from pagoda.training.full.update import full_update
from pagoda.training.full.version_writer import opened
from tests.training.worlds import config, hours, make

NOBODY, GONE = np.empty(0, np.int64), np.array([3, 7], np.int64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("unlearned") / "data", clicks_an_hour=10)


def test_a_first_versions_new_items_have_the_vectors_they_are_served_with(dataset: Dataset) -> None:
    prepared = prepare(dataset, hours(0, 30), None, config(cold={"by": "tags", "items": "category_mean"}))
    towers, _ = _unlearned(prepared, None, NOBODY)
    np.testing.assert_array_equal(towers.item_vectors(), opened(prepared).item_vectors())


def test_rows_of_forgotten_users_are_not_learned_from(dataset: Dataset, tmp_path: Path) -> None:
    how = config(bootstrap_epochs=1)
    parent = full_update(dataset, hours(0, 30), None, how, tmp_path / "1", programs=False)
    towers, _ = _unlearned(prepare(dataset, hours(30, 31), parent, how, forgotten=GONE), parent, GONE)
    others = np.setdiff1d(parent.users.ids, GONE)
    assert np.isin(GONE, parent.users.ids).all() and not towers.knows(GONE).any() and towers.knows(others).all()
