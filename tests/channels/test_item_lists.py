"""The best items that may stand in an answer, however many must be asked about."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pagoda.channels.item_lists import best_allowed

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=60)


@given(SCORES, st.sets(st.integers(0, 59)), st.integers(1, 12))
def test_the_best_that_may_come_and_of_equal_ones_the_lower_id_first(
    scores: list[float], barred: set[int], k: int
) -> None:
    items = np.arange(len(scores)) * 3
    asked: list[int] = []

    def allowed(ids: np.ndarray) -> np.ndarray:
        asked.append(len(ids))
        return ~np.isin(ids // 3, list(barred))

    found = best_allowed(items, np.array(scores, np.float32), allowed, k)
    fine = sorted((place for place in range(len(scores)) if place not in barred), key=lambda place: -scores[place])[:k]
    assert found.ids.tolist() == [3 * place for place in fine]
    assert found.scores.tolist() == [scores[place] for place in fine]
    if not barred:
        assert sum(asked) <= 2 * k, "few are asked about, as long as all may come"
