"""How many clients share a process, and what of it each may use while others ask, too."""

from __future__ import annotations

import time
from collections.abc import Callable

ACTIVE_SECONDS = 1.0
"""Who has asked nothing for so long shares with nobody."""
_COUNT_SECONDS = 0.25
_BURST_SECONDS = 2.0
_MOST = 1024
"""Clients whose use is remembered."""
Clock = Callable[[], float]


class Clients:
    """Who has asked within the last second."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._next_count = 0.0

    def ask(self, client: str) -> int:
        """A client asks; how many do, this one included."""
        now = self._clock()
        self._seen[client] = now
        if now >= self._next_count:
            self._next_count = now + _COUNT_SECONDS
            self._seen = {name: seen for name, seen in self._seen.items() if seen > now - ACTIVE_SECONDS}
        return len(self._seen)


class Allowance:
    """What a client may use up: as much as it likes while it is alone, and so much a second while others ask."""

    def __init__(self, a_second: float, clock: Clock = time.monotonic) -> None:
        self._rate, self._clock, self._clients = a_second, clock, Clients(clock)
        self._used: dict[str, tuple[float, float]] = {}
        """By client how far it is ahead of its rate, and when that was."""

    def ask(self, client: str) -> bool:
        """A client asks for something; whether others do, too."""
        return self._clients.ask(client) > 1

    def take(self, client: str, size: float) -> bool:
        """Count it in; False: it is too much, and not counted. Who has used up nothing may take any size, and pays for
        it later; what somebody took while alone costs them no more than the burst."""
        shared, now = self.ask(client), self._clock()
        used, then = self._used.get(client, (0.0, now))
        ahead, most = max(0.0, used - (now - then) * self._rate), _BURST_SECONDS * self._rate
        if shared and ahead and ahead + size > most:
            return False
        if len(self._used) > _MOST:
            self._used.clear()
        self._used[client] = ahead + size if shared else min(ahead + size, most), now
        return True
