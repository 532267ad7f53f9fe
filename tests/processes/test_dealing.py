"""What is dealt is whole."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pagoda.processes.dealing import evenly


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 9))
def test_all_is_dealt_once_in_order_and_by_whole_strides(size: int, stride: int, processes: int) -> None:
    slices = evenly(size, stride, processes)
    assert [place for own in slices for place in range(own.start, own.stop)] == list(range(size))
    assert 1 <= len(slices) <= processes
    assert all(own.start < own.stop for own in slices) or size == 0
    assert all(before.stop == after.start and after.start % stride == 0 for before, after in pairwise(slices))
    strides = [-(-(own.stop - own.start) // stride) for own in slices]
    assert max(strides) - min(strides) <= 1, "nobody waits for one who has much more"
