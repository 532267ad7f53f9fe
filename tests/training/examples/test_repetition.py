"""Head positives are thinned and tail ones repeated as declared, on average, and the sampler knows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.config.positives import PositivesConfig
from pagoda.training.examples.repetition import repeated, repeats

CLICKS = np.array([900, 90, 9, 1, 0])


def test_times_are_the_formula() -> None:
    times = repeats(PositivesConfig(thin_above=0.1, repeat_below=0.05), CLICKS)
    assert times is not None
    np.testing.assert_allclose(times[:3], [np.sqrt(0.1 / 0.9), 1, np.sqrt(0.05 / 0.009)])
    assert times[3] == pytest.approx(np.sqrt(50))
    assert repeats(PositivesConfig(repeat_below=0.5), CLICKS)[3] == 10  # type: ignore[index]
    assert repeats(PositivesConfig(), CLICKS) is None


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30), st.floats(1e-4, 0.5), st.floats(0.1, 1))
def test_a_greater_exponent_takes_more_from_the_head_and_nothing_from_others(
    clicks: list[int], above: float, exponent: float
) -> None:
    counts = np.array(clicks)
    shares = np.maximum(counts, 1) / max(counts.sum(), 1)
    times = repeats(PositivesConfig(thin_above=above, thin_exponent=exponent), counts)
    assert times is not None
    np.testing.assert_array_equal(times[shares <= above], 1)
    head = shares > above
    np.testing.assert_allclose((times * shares**exponent)[head], above**exponent)
    half = repeats(PositivesConfig(thin_above=above), counts)
    np.testing.assert_array_equal(half, np.minimum(1, np.sqrt(above / shares)))


@given(st.lists(st.floats(0, 4), max_size=20), st.integers(0, 1000))
def test_each_positive_is_learned_as_often_as_it_should(times: list[float], seed: int) -> None:
    wanted = np.array(times)
    counts = np.bincount(repeated(wanted, np.random.default_rng(seed)), minlength=len(times))
    assert (np.abs(counts - wanted) < 1).all()
    many = repeated(np.full(4000, 0.3), np.random.default_rng(seed))
    assert abs(len(many) / 4000 - 0.3) < 0.04


def test_an_item_cannot_be_thinned_and_repeated() -> None:
    with pytest.raises(ValueError, match="would be thinned and repeated"):
        PositivesConfig(thin_above=0.01, repeat_below=0.02)


def test_an_exponent_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="thin_exponent has no effect while thin_above is not set"):
        PositivesConfig(thin_exponent=0.75)
