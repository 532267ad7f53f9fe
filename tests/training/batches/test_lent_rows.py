"""What training lends an item without a row is, on average, what will stand for it when it is served."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pagoda.embeddings.category_means import CategoryMeans
from pagoda.training.batches.lent_rows import Lender
from pagoda.training.tables import OOV

ITEMS, DIM, SIZE = 30, 4, 6
lists = arrays.arrays(np.int64, (ITEMS, 3), elements=st.integers(-1, SIZE - 1))
with_row = arrays.arrays(np.bool_, ITEMS)


def places_of(there: np.ndarray) -> np.ndarray:
    return np.where(there, np.cumsum(there), OOV)


@given(lists, with_row, st.integers(0, 99))
def test_rows_come_from_items_of_the_same_category_that_have_one(
    categories: np.ndarray, there: np.ndarray, seed: int
) -> None:
    places = places_of(there)
    # The row of the j-th item that has one is a mark of its categories, so what is lent shows whose it is.
    marks = np.stack([(categories == category).any(1) for category in range(1, SIZE)], axis=1)
    table = torch.from_numpy(np.concatenate([np.zeros((1, SIZE - 1)), marks[there]]).astype(np.float32))
    lender = Lender(places, categories, np.ones(ITEMS), share=1.0)
    without = np.flatnonzero(~there)
    chosen, lent = lender.draw(without, np.random.default_rng(seed))
    held = np.array([(categories[there] == category).any() for category in range(SIZE)])
    can = np.array([any(c > 0 and held[c] for c in categories[item]) for item in without], dtype=bool)
    assert np.array_equal(chosen, np.flatnonzero(can))
    if lent is not None:
        rows = lent.rows(table).numpy()
        for item, row in zip(without[chosen], rows, strict=True):
            own = [c for c in categories[item] if c > 0 and held[c]]
            assert row.sum() > 0
            # Of one category, all that were drawn are of it: its mark is the greatest.
            if len(set(own)) == 1:
                assert row[own[0] - 1] == row.max()


def test_they_are_the_category_means_on_average() -> None:
    rng = np.random.default_rng(3)
    there, categories = np.arange(ITEMS) < ITEMS - 3, rng.integers(1, SIZE, (ITEMS, 2))
    weights, table = rng.integers(1, 20, ITEMS).astype(np.float64), torch.from_numpy(rng.normal(size=(ITEMS - 2, DIM)))
    lender = Lender(places_of(there), categories, weights, share=1.0)
    drawn = []
    for _ in range(400):
        _, lent = lender.draw(np.flatnonzero(~there), rng)
        assert lent is not None
        drawn.append(lent.rows(table.float()).numpy())
    rows = table.numpy().astype(np.float32)
    means = CategoryMeans.of("kind", categories[there], rows[1:], weights[there], oov=rows[OOV], size=SIZE)
    np.testing.assert_allclose(np.mean(drawn, 0), means.of_items(categories[~there]), atol=0.05)


def test_only_a_share_of_items_is_lent_a_row() -> None:
    there, categories = np.arange(ITEMS) < 2, np.ones(ITEMS, np.int64)
    lender = Lender(places_of(there), categories, np.ones(ITEMS))
    counts = [len(lender.draw(np.flatnonzero(~there), np.random.default_rng(seed))[0]) for seed in range(200)]
    assert 0.45 < np.mean(counts) / (ITEMS - 2) < 0.55
