"""Which items go with which, against the formulas written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from pagoda.channels.neighbours import co_occurrence, item_similarity
from pagoda.channels.neighbours.co_occurrence import UserItems
from pagoda.channels.neighbours.item_similarity import cosine_neighbours, swing_neighbours

_Had = np.ndarray
somebody_had = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 8)), elements=st.booleans())


def _items(had: _Had) -> UserItems:
    return UserItems(sparse.csr_array(had.astype(np.float32)), np.arange(had.shape[1]), 1.0)


def _swing(had: _Had) -> np.ndarray:
    """The formula, pair by pair."""
    items = had.shape[1]
    sums = np.zeros((items, items))
    for one, other in combinations(had, 2):
        both = np.flatnonzero(one & other)
        for i in both:
            sums[i, np.setdiff1d(both, [i])] += 1 / (np.sqrt(one.sum() * other.sum()) * (1 + len(both)))
    return sums


@settings(max_examples=100, deadline=None)
@given(somebody_had)
def test_swing_is_the_sum_over_pairs_of_users(had: _Had) -> None:
    np.testing.assert_allclose(swing_neighbours(_items(had), 8).toarray(), _swing(had), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(somebody_had, st.integers(1, 7))
def test_each_item_keeps_its_nearest(had: _Had, kept: int) -> None:
    for measure in (swing_neighbours, cosine_neighbours):
        whole, some = (measure(_items(had), count).toarray() for count in (8, kept))
        for row, few in zip(whole, some, strict=True):
            np.testing.assert_array_equal(np.sort(few)[::-1][:kept], np.sort(row)[::-1][:kept])
            assert (few[few > 0] == row[few > 0]).all()


@pytest.mark.parametrize("measure", [swing_neighbours, cosine_neighbours])
def test_what_is_held_at_once_changes_no_neighbour(measure, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    had = _items(rng.random((150, 60)) < 0.02 + rng.random(60) ** 3)
    whole = measure(had, 10)
    monkeypatch.setattr(co_occurrence, "_BLOCK", 40)
    by_block = measure(had, 10)
    np.testing.assert_array_equal(by_block.indptr, whole.indptr)
    np.testing.assert_array_equal(by_block.indices, whole.indices)
    np.testing.assert_array_equal(by_block.data, whole.data)


def test_an_item_of_everyone_is_measured_by_some_of_its_users_and_ranks_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of what goes with item 0, item 1 is had by most of its users, item 2 by a third, and item 3 by a tenth."""
    rng = np.random.default_rng(0)
    had = _items(rng.random((2_000, 4)) < [1, 0.6, 0.35, 0.1])
    whole = swing_neighbours(had, 3)[[0]].toarray()[0]
    monkeypatch.setattr(item_similarity, "_SAMPLED", 200)
    sampled = swing_neighbours(had, 3)[[0]].toarray()[0]
    assert 0 < sampled.sum() < whole.sum() / 20, "pairs are looked at of a tenth of the users"
    assert np.argsort(-sampled).tolist() == np.argsort(-whole).tolist() == [1, 2, 3, 0]
    np.testing.assert_array_equal(sampled, swing_neighbours(had, 3)[[0]].toarray()[0])
