"""What the pre-ranker sees examples by, how they are divided, and how often they are learned."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.errors import DataError
from pagoda.training.full.preparation import prepare
from pagoda.training.full.preranking import _unlearned
from pagoda.training.full.update import full_update
from pagoda.training.full.version_writer import opened
from pagoda.training.prerank import training
from pagoda.training.prerank.learning import epochs_of
from pagoda.training.prerank.training import split_by_time
from tests.training.worlds import config, hours, make

from .worlds import pre_ranked

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


def test_the_last_tenth_of_what_was_shown_is_held_back_whatever_was_rejected() -> None:
    shown = np.repeat([True, False], [20, 30])
    learned, later = split_by_time(shown)
    assert learned.tolist() == list(range(18)) and later.tolist() == [18, 19]


def test_too_little_that_was_shown_is_refused_by_name(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    few = SimpleNamespace(shown=np.repeat([True, False], [9, 30]))
    monkeypatch.setattr(training, "shown_examples", lambda *_: few)
    how = pre_ranked(features=["product"])
    prepared = prepare(dataset, hours(0, 30), None, config())
    with pytest.raises(DataError, match=r"9 impressions in .*, and prerank needs 10 at least .* take a longer window"):
        training.train_preranker(prepared.stream, None, None, prepared.encoder, how)  # type: ignore[arg-type]


def test_few_examples_are_learned_until_there_were_enough_steps_and_not_longer() -> None:
    assert [epochs_of(rows, 3) for rows in (10, 512, 513, 51_200, 300_000)] == [300, 300, 150, 3, 3]
