"""How a pre-ranker begins, and when it ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.prerank.groups import Groups
from pagoda.prerank.network import PreRanker
from pagoda.training.prerank.learning import calibration, learn_while_it_gains

VALUES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(VALUES)
def test_what_is_kept_is_what_it_was_after_its_best_round(values: list[int]) -> None:
    ranker = PreRanker(Groups(("cosine",), (), ()), 2, 2, [2])
    seen = list[int]()

    def rounds() -> object:
        for number, value in enumerate(values):
            ranker.begin(float(value), 0.0)
            seen.append(value)
            yield number

    best = learn_while_it_gains(ranker, rounds(), lambda now: float(now.slope))  # type: ignore[arg-type]
    assert best == seen.index(max(seen)) and float(ranker.slope) == max(seen)
    worse = [value < max(seen[: number + 1]) for number, value in enumerate(seen)][best + 1 :]
    assert sum(worse) == 3 if len(seen) < len(values) else sum(worse) <= 3, "it ends when three rounds were worse"


def test_a_ranker_begins_with_the_chances_that_cosines_had() -> None:
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, 50_000)
    chosen = rng.random(len(cosines)) < 1 / (1 + np.exp(2 - 4 * cosines))
    assert calibration(cosines, chosen) == pytest.approx((4, -2), abs=0.15)


@pytest.mark.parametrize("chosen", [[True, True, False, False], [False, False, True, True], [False] * 4])
def test_it_begins_in_the_order_of_the_cosines_whatever_was_chosen(chosen: list[bool]) -> None:
    slope, intercept = calibration(np.array([-0.5, -0.1, 0.2, 0.7]), np.array(chosen))
    assert 1 <= slope < np.inf and np.isfinite(intercept)
