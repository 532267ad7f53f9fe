"""What a version must beat beside popularity: items that go with those that a user had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from pagoda.channels.neighbours import co_occurrence
from pagoda.channels.neighbours.co_occurrence import UserItems, read_user_items
from pagoda.data.dataset import Dataset
from pagoda.data.ids import user_places
from pagoda.data.increments import Arrivals
from pagoda.data.spec import FeatureSpec
from pagoda.evaluation.baselines import user_sample
from pagoda.evaluation.baselines.ease import ease
from pagoda.evaluation.baselines.item_baseline import (
    MOST,
    BaselineLimits,
    ItemBaselineScorer,
    ItemWeights,
    item_knn,
    learn_item_baseline,
)
from pagoda.evaluation.baselines.user_sample import SampledUsers
from pagoda.evaluation.ranking import ExcludedPairs

from .worlds import hours, write_dataset


@pytest.fixture
def had() -> UserItems:
    """Who had what, of 200 users and 30 items, some much more popular than others."""
    rng = np.random.default_rng(0)
    matrix = sparse.csr_array((rng.random((200, 30)) < 0.1 + rng.random(30) ** 2).astype(np.float32))
    return UserItems(matrix, np.arange(30), 1.0)


def test_ease_is_equation_8_of_its_paper(had: UserItems) -> None:
    dense = had.matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 250 * np.eye(30))
    expected = np.eye(30) - inverse @ np.diag(1 / np.diag(inverse))
    np.testing.assert_allclose(ease(had), expected, atol=1e-5)


def test_neighbours_have_the_cosine_of_who_had_both(had: UserItems) -> None:
    dense = had.matrix.toarray().astype(np.float64)
    lengths = np.maximum(np.linalg.norm(dense, axis=0), 1e-9)
    expected = dense.T @ dense / np.outer(lengths, lengths)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(item_knn(had).toarray(), expected, atol=1e-6)


def test_only_the_nearest_are_kept_and_blocks_change_nothing(had: UserItems, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, weights = item_knn(had).toarray(), ease(had)
    monkeypatch.setattr(co_occurrence, "_BLOCK", 50)
    assert len(list(had.together())) > 10
    np.testing.assert_array_equal(item_knn(had).toarray(), whole)
    np.testing.assert_array_equal(ease(had), weights)
    monkeypatch.setattr("pagoda.evaluation.baselines.item_baseline._NEIGHBOURS", 3)
    nearest = item_knn(had).toarray()
    for item in range(30):  # A column holds what speaks for it: rows are what a user had.
        kept = np.flatnonzero(nearest[:, item])
        assert len(kept) == 3 and whole[kept, item].min() >= np.delete(whole[:, item], kept).max()


def test_a_log_with_too_many_rows_is_read_of_some_users_but_of_these_whole(tmp_path: Path) -> None:
    events = [(user, 100 + item, item, "click") for item in range(10) for user in range(200)]
    dataset = write_dataset(tmp_path / "d", events, 10, FeatureSpec())
    found = read_user_items(dataset, hours(20, 21).start, np.arange(100, 110), most=700)
    assert found is not None and found.share == 0.25
    assert 30 < found.matrix.shape[0] < 70
    assert (found.matrix.sum(axis=1) == 10).all()


def test_of_a_user_with_thousands_the_newest_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [(1, 100 + item, item, "click") for item in range(10)] + [(1, 100, 10, "click")]
    dataset = write_dataset(tmp_path / "d", events, 10, FeatureSpec())
    monkeypatch.setattr(co_occurrence, "LONGEST", 3)
    found = read_user_items(dataset, hours(20, 21).start, np.arange(100, 110), most=100)
    assert found is not None and found.places.tolist() == [0, 8, 9]


def test_more_items_than_ease_may_have_get_neighbours(tmp_path: Path) -> None:
    events = [(user, 100 + (user + step) % 10, step, "click") for step in range(3) for user in range(20)]
    dataset = write_dataset(tmp_path / "d", events, 10, FeatureSpec())
    names = [
        baseline.name
        for most in (10, 9)
        if (baseline := learn_item_baseline(dataset, hours(5, 6), np.arange(100, 110), BaselineLimits(most)))
    ]
    assert names == ["ease", "item_knn"]
    assert learn_item_baseline(dataset, hours(0, 6), np.arange(100, 110), MOST) is None, "nobody had anything"


def test_what_a_user_had_speaks_for_what_goes_with_it_and_popularity_for_who_had_nothing() -> None:
    weights = np.array([[0, 0.5], [0.25, 0]], np.float32)
    baseline = ItemWeights(weights, np.array([1, 3]))
    had = ExcludedPairs(np.array([0, 0, 2]), np.array([1, 2, 3]))
    scorer = ItemBaselineScorer(baseline, had, 3, np.array([4, 3, 2, 1]))
    expected = [[0, 0, 0, 0.5], [4, 3, 2, 1], [0, 0.25, 0, 0]]
    np.testing.assert_array_equal(scorer.block(slice(0, 3)), expected)


@pytest.mark.parametrize("most_held", [0, 1_000])
def test_a_sample_of_users_is_the_same_everywhere_and_even(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_held: int
) -> None:
    monkeypatch.setattr(user_sample, "_MOST_HELD", most_held)
    spread = user_places(np.arange(100_000))
    assert np.histogram(spread, 10, (0, 1))[0].std() < 200
    events = [(user, 100, hour, "click") for hour in range(3) for user in range(100)]
    dataset = write_dataset(tmp_path / "d", events, 1, FeatureSpec())
    sample = SampledUsers(dataset, 0.3)
    rows = [batch.column("user_id").to_numpy() for batch in sample.batches(columns=["timestamp", "user_id"])]
    expected = np.flatnonzero(user_places(np.arange(100)) < 0.3)
    np.testing.assert_array_equal(np.concatenate(rows), np.tile(expected, 3))
    assert sample.count() == sample.count(hours(0, 3), events=["click"]) == 3 * len(expected)
    assert sample.count(hours(1, 2)) == len(expected)


@pytest.mark.parametrize("most_held", [0, 1_000])
def test_a_sample_has_what_arrived_as_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_held: int) -> None:
    monkeypatch.setattr(user_sample, "_MOST_HELD", most_held)
    write_dataset(tmp_path / "d", [(user, 100, 1, "click") for user in range(10)], 1, FeatureSpec())
    (imported,) = (tmp_path / "d" / "interactions").rglob("*.parquet")
    imported.rename(imported.with_name(Arrivals(0, 3_600_000).name))
    sample = SampledUsers(Dataset.open(tmp_path / "d"), 1.0)
    assert sample.count() == sample.count(hours(0, 3), events=["click"]) == 10
