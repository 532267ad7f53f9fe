"""Popularity thirds, coverage of random orders, and intervals over users."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.metrics import random_coverage, thirds
from pagoda.evaluation.ranking import ExcludedPairs


def test_thirds_hold_a_third_of_the_clicks_each() -> None:
    assert thirds(np.array([1, 6, 2, 0, 3, 6])).tolist() == [2, 0, 2, 2, 2, 1]
    assert thirds(np.array([0, 0])).tolist() == [2, 2]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_a_more_clicked_item_is_never_in_a_lower_third(clicks: list[int]) -> None:
    counts = np.array(clicks, np.int64)
    order = np.argsort(-counts, kind="stable")
    assert (np.diff(thirds(counts)[order]) >= 0).all()
    assert (thirds(counts)[counts == 0] == 2).all()


def test_random_coverage_is_what_a_simulation_gives() -> None:
    generator = np.random.default_rng(0)
    items, rows, k = 30, 12, 4
    seen = ExcludedPairs(np.array([0, 0, 3]), np.array([1, 2, 7]))
    shares = []
    for _ in range(2000):
        keys = generator.random((rows, items))
        keys[seen.rows, seen.items] = 2
        shares.append(len(np.unique(np.argsort(keys, axis=1)[:, :k])) / items)
    assert random_coverage(k, items, seen, rows) == pytest.approx(np.mean(shares), abs=0.005)
    assert random_coverage(50, items, seen, rows) == 1.0


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        level = generator.normal(size=40)
        users = generator.integers(0, 40, 200)
        values = level[users] + generator.normal(size=200)
        low, high = interval(resample(values[:, None], users, replicates=300, seed=trial).samples[:, 0])
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_rows_of_one_user_are_resampled_together() -> None:
    users = np.repeat(np.arange(10), 100)
    values = (users % 2).astype(float)[:, None]
    low, high = interval(resample(values, users).samples[:, 0])
    assert high - low > 0.4
    low, high = interval(resample(values, np.arange(1000)).samples[:, 0])
    assert high - low < 0.1


def test_columns_are_paired_seeded_and_may_lack_rows() -> None:
    users = np.array([3, 3, 5, 9])
    first = np.array([1.0, 0.0, 1.0, 0.5])
    values = np.stack([first, first + 0.1, [np.nan] * 4, [np.nan, np.nan, 0.25, np.nan]], axis=1)
    found, again = resample(values, users, seed=4), resample(values, users, seed=4)
    np.testing.assert_array_equal(found.samples, again.samples)
    np.testing.assert_allclose(found.samples[:, 1] - found.samples[:, 0], 0.1)
    np.testing.assert_allclose(found.means, [0.625, 0.725, np.nan, 0.25])
    assert np.isnan(interval(found.samples[:, 2])).all()
    assert interval(found.samples[:, 3]) == (0.25, 0.25)
