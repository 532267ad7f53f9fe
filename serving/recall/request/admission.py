"""How much a process has to do at once: beyond that, requests are told to come back rather than queued to death.

Work is counted in users who want a hundred items each. Where there is too much of it, those are refused who ask for
more than an equal share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serving.http.overload import GreedyError

_ROUNDING = 1e-6


class Admission:
    """Counts what is under way, by client."""

    def __init__(self, most: float) -> None:
        self._most, self._now = most, 0.0
        self._of: dict[str, float] = {}

    @contextmanager
    def admitted(self, client: str, cost: float) -> Iterator[None]:
        """Hold places for a request until the block ends. Of a client that has none, one of any size is taken.

        Raises:
            GreedyError: There are too few places, and the client has its share of them.
        """
        own = self._of.get(client, 0.0)
        share = self._most / (len(self._of) + (not own))
        if own and own + cost > share and self._now + cost > self._most:
            raise GreedyError(
                f"{self._most:.0f} users can be answered at once (recall.users_at_once): you have your share; try again"
            )
        self._now += cost
        self._of[client] = own + cost
        try:
            yield
        finally:
            self._now -= cost
            self._of[client] -= cost
            if self._of[client] <= _ROUNDING:
                del self._of[client]


UNBOUNDED = Admission(1 << 62)
