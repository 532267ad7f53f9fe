"""Users without a row of their own share rows: the same ones in training, in every update after it, and when asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.dataset import Dataset
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.shared_rows import shared_places
from pagoda.erasure.pending import Forgotten
from pagoda.errors import ConfigError
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update
from pagoda.training.incremental.update import incremental_update
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.tables import OOV, TrainableTable
from pagoda.version_files.full import USERS, FullVersionFiles
from tests.training.worlds import config, hours, make

OWN, SHARED = 20, 12
ROWS = {"own": OWN, "shared": SHARED}
CONFIG = config(bootstrap_epochs=1, user_rows=ROWS)
NEVER_SEEN = np.array([987_654, 987_655])
distinct = st.lists(st.integers(-50, 50), min_size=1, max_size=12, unique=True).map(np.array)


def table(own: np.ndarray, shared: int, places_for: np.ndarray) -> TrainableTable:
    made = TrainableTable.first(own, 3, torch.Generator().manual_seed(1), shared=shared)
    return made.with_places_for(places_for)


def active(dataset: Dataset, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    batches = dataset.batches(hours(start, end), events=dataset.spec.positives, columns=["user_id"])
    return np.unique(np.concatenate([batch["user_id"].to_numpy() for batch in batches]), return_counts=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def first(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, hours(0, 40), None, CONFIG, tmp_path_factory.mktemp("first") / "out")


@given(distinct, distinct, st.sampled_from([0, 2, 7]))
def test_a_batch_reads_the_rows_that_a_lookup_gives(own: np.ndarray, asked: np.ndarray, shared: int) -> None:
    made = table(own, shared, asked)
    places = made.places(asked)
    assert len(np.unique(places)) == len(asked) and OOV not in places
    assert [made.id_at(int(place)) for place in places] == asked.tolist()
    sums = made.sums(places)
    rows = made.rows[torch.from_numpy(places)] if sums is None else sums.of(made.rows[sums.rows])
    np.testing.assert_allclose(rows.numpy(), made.lookup(asked)[0], rtol=1e-6)


@given(distinct, st.sampled_from([0, 2, 7]))
def test_a_step_changes_each_row_by_all_who_share_it(asked: np.ndarray, shared: int) -> None:
    made = table(asked[::3], shared, asked)
    sums = made.sums(np.append(made.places(asked), OOV))
    if sums is None:
        return
    weights = torch.randn(len(asked) + 1, 3, generator=torch.Generator().manual_seed(2))
    rows = made.rows[sums.rows].requires_grad_()
    (gradient,) = torch.autograd.grad((sums.of(rows) * weights).sum(), [rows])
    expected = torch.zeros_like(made.rows)
    for row, id_ in zip(weights[:-1], asked, strict=True):
        position, found = np.searchsorted(made.ids, id_), id_ in made.ids
        pair = 1 + len(made.ids) + shared_places(np.array([id_]), shared)[0] if shared else [OOV]
        for place in [position + 1] if found else pair:
            expected[place] += row
    expected[OOV] += weights[-1]
    torch.testing.assert_close(gradient, expected[sums.rows])
    untouched = np.setdiff1d(np.arange(len(made.rows)), sums.rows.numpy())
    before = made.rows.clone()
    adagrad_step(made, sums.rows, [gradient], 0.1)
    assert torch.equal(made.rows[untouched], before[untouched])


def test_who_gets_a_row_begins_where_they_were_and_changes_nobody_else() -> None:
    made = table(np.arange(5), 8, np.arange(9))
    grown = made.grown(np.array([7]), torch.Generator().manual_seed(3))
    others = np.setdiff1d(np.arange(50), [7])
    np.testing.assert_array_equal(made.lookup(others)[0], grown.lookup(others)[0])
    (before,), (after,) = made.lookup(np.array([7]))[0], grown.lookup(np.array([7]))[0]
    assert 0 < np.abs(after - before).max() < 0.3 and grown.ids.tolist() == [0, 1, 2, 3, 4, 7]


def test_those_who_do_most_have_a_row_and_others_learn_shared_ones(dataset: Dataset, first: FullVersionFiles) -> None:
    users, counts = active(dataset, 0, 40)
    assert first.users.ids.tolist() == sorted(users[np.lexsort((users, -counts))[:OWN]])
    assert len(first.users.shared) == SHARED
    assert len(first.squares(USERS)) == 1 + OWN + SHARED
    assert (first.squares(USERS)[1 + OWN :] > 0).all()


def test_the_next_version_goes_on_from_all_rows(dataset: Dataset, first: FullVersionFiles, tmp_path: Path) -> None:
    child = full_update(dataset, hours(40, 41), first, CONFIG, tmp_path / "child")
    assert child.users.ids.tolist() == first.users.ids.tolist()  # None is free.
    users, _ = active(dataset, 40, 41)
    sharing = np.setdiff1d(users, first.users.ids)
    changed = np.unique(shared_places(sharing, SHARED))
    stay = np.setdiff1d(np.arange(SHARED), changed)
    assert len(sharing) and len(stay)
    np.testing.assert_array_equal(child.users.shared[stay], first.users.shared[stay])
    assert (child.users.shared[changed] != first.users.shared[changed]).any(1).mean() > 0.3
    more = config(bootstrap_epochs=1, user_rows={"own": OWN + 3, "shared": SHARED})
    assert len(full_update(dataset, hours(40, 41), first, more, tmp_path / "more").users) == OWN + 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"own": OWN, "shared": 13}, "user_rows.shared is 13, but the parent has 12"),
        ({"own": OWN - 1, "shared": SHARED}, "user_rows.own is 19, but the parent has rows of 20 users"),
        (None, "user_rows.shared is 0, but the parent has 12"),
    ],
)
def test_rows_that_do_not_go_on_are_refused(
    dataset: Dataset, first: FullVersionFiles, rows: dict[str, int] | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        full_update(dataset, hours(40, 41), first, config(user_rows=rows), tmp_path / "child")
    assert not (tmp_path / "child").exists()


def test_an_incremental_begins_at_the_shared_rows_and_leaves_them(
    dataset: Dataset, first: FullVersionFiles, tmp_path: Path
) -> None:
    before = checksum_file(first.folder / USERS / "rows.npy")
    still = config(bootstrap_epochs=1, user_rows=ROWS, incremental={"learning_rate": 1e-6})
    made = incremental_update(dataset, hours(40, 44), first, None, still, out=tmp_path / "out")
    assert made is not None
    new = np.setdiff1d(made.delta.ids, first.users.ids)
    assert made.description.new_users == len(new) > 0
    rows, known = Overlay(first.users, [made.delta]).lookup(new)
    assert known.all()
    np.testing.assert_allclose(rows, first.users.unknown(new), atol=1e-4)
    assert checksum_file(first.folder / USERS / "rows.npy") == before


def test_nothing_is_left_of_who_is_forgotten(tmp_path: Path, first: FullVersionFiles) -> None:
    quiet = make(tmp_path / "quiet", clicks_an_hour=3)
    gone = np.setdiff1d(np.arange(50), [*active(quiet, 40, 41)[0], *first.users.ids])[:2]
    made = incremental_update(quiet, hours(40, 41), first, None, CONFIG, out=tmp_path / "1", forgotten=gone)
    assert made is not None
    hidden, _ = Overlay(first.users, [made.delta]).lookup(gone)
    np.testing.assert_array_equal(hidden, np.repeat(first.users.oov[None], len(gone), axis=0))
    asked = full_update(quiet, hours(40, 41), first, CONFIG, tmp_path / "2", forgotten=Forgotten(gone, 12))
    window = np.setdiff1d(active(quiet, 40, 41)[0], first.users.ids)
    theirs = np.setdiff1d(shared_places(gone, SHARED), shared_places(window, SHARED))
    assert len(theirs)
    assert not asked.squares(USERS)[1 + len(asked.users) + theirs].any()
    norms = np.linalg.norm(asked.users.shared[theirs], axis=1)
    assert (norms < np.linalg.norm(first.users.shared, axis=1).min()).all()


def test_without_shared_rows_others_are_nobody_yet_told_apart(dataset: Dataset, tmp_path: Path) -> None:
    along = {"learn": "sequences", "negatives": {"in_batch": False, "uniform": 16}, "bootstrap_epochs": 1}
    made = full_update(dataset, hours(0, 20), None, config(**along, user_rows={"own": OWN}), tmp_path / "out")
    rows, found = made.users.lookup(NEVER_SEEN)
    np.testing.assert_array_equal(rows, np.repeat(made.users.oov[None], 2, axis=0))
    assert not found.any()
    assert len(made.users) == OWN


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"user_rows": {"own": 5, "shared": 1}}, "shared is 1"),
        ({"user_rows": {"own": 0, "shared": 8}}, "own"),
        ({"user_rows": ROWS, "model": {"user": {"id_row": False}}}, "user_rows has no effect"),
    ],
)
def test_what_cannot_be_is_refused_by_name(declared: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config(**declared)
