from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pagoda.item_vectors.exact_search import exact_top_k


@given(items=st.integers(1, 60), block=st.integers(1, 70), k=st.integers(1, 80), seed=st.integers(0, 1000))
def test_blocks_do_not_change_the_answer_and_ties_go_to_the_lower_id(items: int, block: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Small integers: sums are exact, so that ties are many and no order of summation matters.
    vectors = random.integers(-1, 2, (items, 3)).astype(np.float32)
    queries = random.integers(-1, 2, (4, 3)).astype(np.float32)
    ids = np.sort(random.choice(10_000, items, replace=False)) - 5000

    found, scores = exact_top_k(
        queries, ((ids[a : a + block], vectors[a : a + block]) for a in range(0, items, block)), k
    )

    everything = queries @ vectors.T
    order = np.lexsort((np.broadcast_to(ids, everything.shape), -everything), axis=1)[:, :k]
    assert np.array_equal(found, ids[order])
    assert np.array_equal(scores, np.take_along_axis(everything, order, axis=1))
