"""How many users a process answers at once: beyond that, requests are told to come back rather than queued to death."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pagoda.errors import UnavailableError


class ShedError(UnavailableError):
    """There is too much to do just now."""


class Admission:
    """Counts users under way."""

    def __init__(self, most: int) -> None:
        self._most, self._now = most, 0

    @contextmanager
    def admitted(self, users: int) -> Iterator[None]:
        """Hold places for a request's users until the block ends. An idle process takes a request of any size.

        Raises:
            ShedError: There are too few places.
        """
        if self._now and self._now + users > self._most:
            raise ShedError(f"{self._now} users are being answered, {self._most} can be at once; try again")
        self._now += users
        try:
            yield
        finally:
            self._now -= users


UNBOUNDED = Admission(1 << 62)
