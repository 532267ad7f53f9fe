"""What the pre-ranker sees examples by, and how they are divided."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.erasure.pending import NOBODY
from pagoda.errors import DataError
from pagoda.training.full.preparation import prepare
from pagoda.training.full.preranking import _parents, _rehearsed
from pagoda.training.full.update import full_update
from pagoda.training.prerank.selection import Halves
from pagoda.training.prerank.shown import SHOWN, parts_of
from tests.training.worlds import config, hours

from .worlds import make_shown, pre_ranked

GONE = np.array([3, 7], np.int64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_shown(tmp_path_factory.mktemp("unlearned") / "data")


def test_rows_of_forgotten_users_are_not_learned_from(dataset: Dataset, tmp_path: Path) -> None:
    how = config(bootstrap_epochs=1)
    parent = full_update(dataset, hours(0, 30), None, how, tmp_path / "1", programs=False)
    towers = _parents(prepare(dataset, hours(30, 31), parent, how, forgotten=GONE), parent, GONE).towers
    others = np.setdiff1d(parent.users.ids, GONE)
    assert np.isin(GONE, parent.users.ids).all() and not towers.knows(GONE).any() and towers.knows(others).all()


def test_a_first_version_is_rehearsed_on_what_came_before_its_examples(dataset: Dataset, tmp_path: Path) -> None:
    """The rehearsal is the training of a version of the first part, but for the words that come later."""
    how, whole = pre_ranked(), hours(0, 30)
    prepared = prepare(dataset, whole, None, how)
    before, (first, rest) = _rehearsed(prepared, how, NOBODY.ids), parts_of(dataset, whole)
    alone = full_update(dataset, first, None, how.model_copy(update={"prerank": None}), tmp_path / "1", programs=False)
    assert before.window == rest and not before.alike
    assert before.encoder.to_json() == prepared.encoder.to_json(), "users are encoded as the version encodes them"
    ids = prepared.survey.catalogue
    np.testing.assert_allclose(before.popularity, len(ids) * alone.shares(ids))
    (ours, theirs), users = (before.histories, alone.history()), alone.users.ids
    assert ours is not None and theirs is not None
    moments = np.full(len(users), rest.start_us)
    np.testing.assert_array_equal(ours.read(users, moments).items, theirs.read(users, moments).items)


def test_a_window_is_cut_where_four_fifths_of_it_were_shown(dataset: Dataset) -> None:
    whole = hours(0, 30)
    first, rest = parts_of(dataset, whole)
    assert (first.start, first.end, rest.end) == (whole.start, rest.start, whole.end)
    shown = [dataset.count(window, events=[SHOWN]) for window in (first, whole)]
    assert shown[0] / shown[1] == pytest.approx(0.8, abs=0.02)
    moment = Window(start=rest.start, end=rest.start + timedelta(microseconds=1))
    with pytest.raises(DataError, match="was shown at its start"):
        parts_of(dataset, moment)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30), st.integers(0, 9))
def test_nobody_is_learned_from_and_judged_by(told: list[tuple[int, bool]], seed: int) -> None:
    users, shown = np.array([user for user, _ in told]), np.array([was_shown for _, was_shown in told])
    assume(len(set(users[shown])) > 1)
    first, second = Halves(SimpleNamespace(users=users, shown=shown), seed).rows  # type: ignore[arg-type]
    assert sorted([*first, *second]) == list(range(len(told)))
    assert not set(users[first]) & set(users[second])
    assert shown[first].any() and shown[second].any()
