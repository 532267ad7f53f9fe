"""Items without a row have their categories' mean, the nearer to the out-of-vocabulary row the fewer items say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pagoda.embeddings.category_means import CategoryMeans
from pagoda.errors import IntegrityError

ITEMS, DIM, SIZE = 12, 3, 5


def made(categories: np.ndarray, seed: int = 0) -> tuple[CategoryMeans, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, oov = rng.normal(size=(len(categories), DIM)).astype(np.float32), rng.normal(size=DIM).astype(np.float32)
    weights = rng.integers(1, 50, len(categories)).astype(np.float64)
    return CategoryMeans.of("kind", categories, rows, weights, oov=oov, size=SIZE), rows, weights, oov


categories_of_items = arrays.arrays(np.int64, (ITEMS, 2), elements=st.integers(-1, SIZE - 1))


@given(categories_of_items, st.integers(0, 99))
def test_a_category_has_the_weighted_mean_of_its_items_shrunk_by_how_few_they_are(
    categories: np.ndarray, seed: int
) -> None:
    means, rows, weights, oov = made(categories, seed)
    for category in range(1, SIZE):
        there = (categories == category).any(1)
        n = there.sum()
        mean = np.average(rows[there], axis=0, weights=weights[there]) if n else np.zeros(DIM)
        np.testing.assert_allclose(means.rows[category], n / (n + 10) * mean + 10 / (n + 10) * oov, atol=1e-5)


@given(categories_of_items)
def test_an_items_row_is_the_same_alone_and_among_others(categories: np.ndarray) -> None:
    means, *_ = made(categories)
    together = means.of_items(categories)
    alone = np.concatenate([means.of_items(categories[number : number + 1]) for number in range(ITEMS)])
    assert np.array_equal(together, alone)


def test_an_item_of_no_known_category_has_the_out_of_vocabulary_row() -> None:
    means, _, _, oov = made(np.array([1, 1, 2]))
    assert np.array_equal(means.of_items(np.array([[-1, -1], [0, -1]])), np.tile(oov, (2, 1)))


def test_means_of_other_categories_are_refused(tmp_path: Path) -> None:
    means, *_ = made(np.array([1, 2, 3]))
    means.save(tmp_path / "means.npy")
    assert np.array_equal(CategoryMeans.open(tmp_path / "means.npy", "kind", SIZE, DIM).rows, means.rows)
    with pytest.raises(IntegrityError, match=r"means\.npy: holds float32\[5, 3\], expected float32\[6, 3\]"):
        CategoryMeans.open(tmp_path / "means.npy", "kind", SIZE + 1, DIM)
