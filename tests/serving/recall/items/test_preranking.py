"""Items that a pre-ranker does not know yet."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.recall.items.preranking import chances_of_all


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=20))
def test_an_unknown_item_keeps_its_place_among_the_others(found: list[tuple[float, bool]]) -> None:
    chances, there = np.array([one for one, _ in found], np.float32), np.array([known for _, known in found])
    given = chances_of_all(chances, there)
    assert given[there].tolist() == chances[there].tolist()
    falling = sorted(chances[there], reverse=True)
    for at in np.flatnonzero(~there):
        above = int(there[:at].sum())
        assert given[at] == (falling[min(above, len(falling) - 1)] if falling else 0)
