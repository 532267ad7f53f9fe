"""What one client may use up while others ask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.http.client_shares import Allowance

RATE, BURST = 100.0, 200.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0.0001, 0.5), st.floats(1, 1000)), min_size=1, max_size=300))
def test_beside_others_a_client_gets_its_rate_however_it_asks(asks: list[tuple[float, float]]) -> None:
    clock, taken = Clock(), 0.0
    allowance = Allowance(RATE, clock)
    for pause, size in asks:
        clock.now += pause
        allowance.ask("another")
        taken += size if allowance.take("one", size) else 0
    assert taken <= RATE * clock.now + BURST + max(size for _, size in asks)


def test_a_client_that_is_alone_takes_what_it_likes_and_owes_others_a_burst_at_most() -> None:
    clock = Clock()
    allowance = Allowance(RATE, clock)
    assert all(allowance.take("one", 1000) for _ in range(50))
    allowance.ask("another")
    assert not allowance.take("one", 1)
    clock.now += BURST / RATE
    allowance.ask("another")
    assert allowance.take("one", 1000)
