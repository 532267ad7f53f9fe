"""The nearest items by their vectors, against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pagoda.channels.neighbours import vector_similarity
from pagoda.channels.neighbours.vector_similarity import vector_neighbours

# Whole numbers, so that many are equally near, and some have no direction.
some_vectors = st.tuples(st.integers(1, 60), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.integers(-2, 2).map(float))
)


@settings(max_examples=40, deadline=None)
@given(some_vectors, st.integers(1, 6), st.sampled_from([1, 200, 1 << 24]), st.sampled_from([2, 32]))
def test_each_item_keeps_the_largest_cosines_above_0(vectors: np.ndarray, kept: int, cells: int, group: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_similarity, "_CELLS", cells)
        patch.setattr(vector_similarity, "_GROUP", group)
        found = vector_neighbours(vectors, kept).toarray()
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.maximum(np.outer(lengths, lengths), 1e-30)
    np.fill_diagonal(cosines, 0)
    for row, all_of in zip(found, cosines, strict=True):
        largest = np.sort(all_of)[::-1][:kept]
        # What is 0 may be rounded to a little more.
        np.testing.assert_allclose(np.sort(row[row > 1e-6])[::-1], largest[largest > 1e-6], rtol=1e-5)
        np.testing.assert_allclose(row[row > 0], all_of[row > 0], rtol=1e-5, atol=1e-6)
