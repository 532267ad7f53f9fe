"""How many clients share a process, and what of it each may use while others ask, too."""

from __future__ import annotations

import time
from collections.abc import Callable

ACTIVE_SECONDS = 1.0
"""Who has asked nothing for so long shares with nobody."""
_COUNT_SECONDS = 0.25
BYTES_A_SECOND = 1 << 20
"""Of bodies, which cost reading: about 0.1 ms a kilobyte at worst, and no other request is answered meanwhile."""
_BURST_SECONDS = 2.0
_LEAST_BYTES = 512
"""What a request counts as at least: it is work without a body, too."""
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
    """Bytes that a client may send: as many as it likes while it is alone, and so many a second while others ask."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._clients = clock, Clients(clock)
        self._used: dict[str, tuple[float, float]] = {}
        """By client the bytes that it is ahead of its rate by, and when."""

    def take(self, client: str, size: float) -> bool:
        """Count bytes in; False: they are too many, and not counted."""
        shared, now = self._clients.ask(client) > 1, self._clock()
        used, then = self._used.get(client, (0.0, now))
        ahead = max(0.0, used - (now - then) * BYTES_A_SECOND)
        most = _BURST_SECONDS * BYTES_A_SECOND
        if shared and ahead >= most:
            return False
        if len(self._used) > 1024:
            self._used.clear()
        self._used[client] = min(ahead + max(size, _LEAST_BYTES), 2 * most), now
        return True
