"""Transitions and iALS do what their papers say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from pagoda.data.history.histories import Histories
from pagoda.evaluation.baselines import implicit_als
from pagoda.evaluation.baselines.implicit_als import learn_items, solve
from pagoda.evaluation.baselines.transitions import TransitionScorer, transitions


def test_what_came_next_leads_and_popularity_orders_the_rest() -> None:
    users, items = np.array([7, 3, 7, 3, 7, 3]), np.array([0, 1, 2, 2, 0, 2])
    counts = transitions(users, items, 4)
    expected = [[0, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(counts.weights.toarray(), expected)
    catalogue = np.array([10, 11, 12, 13])
    histories = Histories(2, np.array([11, 12, 99]), np.arange(3), np.array([0, 2, 3]), np.array([2, 3, 3]))
    scores = TransitionScorer(counts, histories, catalogue, np.array([100, 3, 5, 7])).block(slice(0, 3))
    assert np.argsort(-scores[0]).tolist() == [0, 2, 3, 1], "after item 12"
    assert np.argsort(-scores[1]).tolist() == [0, 3, 2, 1], "the catalogue lacks the last item"
    assert np.argsort(-scores[2]).tolist() == [0, 3, 2, 1], "nothing was there before"


@pytest.mark.parametrize("floats", [1, 1 << 22])
def test_rows_are_the_least_squares_of_equation_4(floats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implicit_als, "_FLOATS", floats)
    rng = np.random.default_rng(0)
    had = sparse.csr_array((rng.random((12, 9)) < 0.4).astype(np.float32))
    factors = rng.normal(size=(9, 5)).astype(np.float32)
    solved, dense, wide = solve(had, factors), had.toarray(), factors.astype(np.float64)
    for row in range(12):
        chosen = wide[dense[row] > 0]
        ridge = implicit_als._REGULARISATION * (len(chosen) + implicit_als._UNOBSERVED * 9) * np.eye(5)
        left = chosen.T @ chosen + implicit_als._UNOBSERVED * wide.T @ wide + ridge
        expected = np.linalg.solve(left, chosen.sum(axis=0))
        np.testing.assert_allclose(solved[row], expected, rtol=1e-3, atol=1e-4)


def test_users_of_one_kind_get_the_items_of_their_kind() -> None:
    kind = np.arange(60) % 2
    rng = np.random.default_rng(0)
    chosen = (rng.random((60, 20)) < 0.5) & (kind[:, None] == np.arange(20) % 2)
    had = sparse.csr_array(chosen.astype(np.float32))
    items = learn_items(had, seed=1)
    scores = solve(had, items) @ items.T
    own = scores[kind[:, None] == np.arange(20) % 2].mean()
    assert own > 0.3 > 5 * abs(scores[kind[:, None] != np.arange(20) % 2]).mean()
    np.testing.assert_array_equal(items, learn_items(had, seed=1))
