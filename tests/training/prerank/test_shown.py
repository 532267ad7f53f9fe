"""What the pre-ranker takes for an answer to having been shown something."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pagoda.training.prerank.shown import answered_within

MINUTE = 60_000_000
EVENT = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 80), st.booleans())


@given(st.lists(EVENT, min_size=1, max_size=30))
def test_answered_is_what_the_same_user_took_of_the_same_item_within_half_an_hour(events: list[tuple]) -> None:
    users, items, minutes, positive = (np.array(column) for column in zip(*events, strict=True))
    found = answered_within(users, items, minutes * MINUTE, positive)
    expected = [
        any(took and (whose, what) == (user, item) and 0 <= at - minute <= 30 for whose, what, at, took in events)
        for user, item, minute, _ in events
    ]
    assert found.tolist() == expected
