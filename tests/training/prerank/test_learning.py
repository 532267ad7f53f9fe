"""How a pre-ranker begins, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.training.prerank.learning import best_round, calibration

VALUES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(VALUES)
def test_the_best_round_is_found_before_three_are_worse(values: list[int]) -> None:
    seen = list[int]()

    def rounds() -> Iterator[None]:
        for value in values:
            seen.append(value)
            yield

    best, highest = best_round(rounds(), lambda: seen[-1])
    assert (best, highest) == (seen.index(max(seen)), max(seen))
    worse = [value < highest for value in seen[best:]]
    assert sum(worse) == 3 if len(seen) < len(values) else sum(worse) <= 3


def test_a_ranker_begins_with_the_chances_that_cosines_had() -> None:
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, 50_000)
    chosen = rng.random(len(cosines)) < 1 / (1 + np.exp(2 - 4 * cosines))
    assert calibration(cosines, chosen) == pytest.approx((4, -2), abs=0.15)


@pytest.mark.parametrize("chosen", [[True, True, False, False], [False, False, True, True], [False] * 4])
def test_it_begins_in_the_order_of_the_cosines_whatever_was_chosen(chosen: list[bool]) -> None:
    slope, intercept = calibration(np.array([-0.5, -0.1, 0.2, 0.7]), np.array(chosen))
    assert 1 <= slope < np.inf and np.isfinite(intercept)
