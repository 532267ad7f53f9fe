"""Requests in cohorts: those that come while one is under way start together, when it is over.

What starts together asks each server together, and so in one call: where all servers share a few cores, that is what
keeps answers fast when requests come fast. An idle service starts each request at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE_SECONDS = 0.05
"""A cohort that takes longer, because a server does, keeps nobody waiting any more."""


class _Cohort:
    """Requests that started together, as long as others wait for them."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.timer: asyncio.TimerHandle | None = None


class Cohorts:
    """Starts requests, so many cohorts at once."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running = 0
        self._waiting: list[asyncio.Future[_Cohort]] = []

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Wait for a start, and be a member of its cohort until the block ends."""
        if self._running < self._at_once:
            cohort = self._start(1)
        else:
            start: asyncio.Future[_Cohort] = asyncio.get_running_loop().create_future()
            self._waiting.append(start)
            cohort = await start
        try:
            yield
        finally:
            cohort.members -= 1
            if not cohort.members:
                self._end(cohort)

    def _start(self, members: int) -> _Cohort:
        cohort = _Cohort(members)
        self._running += 1
        cohort.timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._end, cohort)
        return cohort

    def _end(self, cohort: _Cohort) -> None:
        """The cohort is over, or has taken too long; whoever waits starts. One that lost a member ends by its timer."""
        if cohort.timer is None:
            return
        cohort.timer.cancel()
        cohort.timer = None
        self._running -= 1
        waiting, self._waiting = [start for start in self._waiting if not start.done()], []
        if waiting:
            next_ = self._start(len(waiting))
            for start in waiting:
                start.set_result(next_)
