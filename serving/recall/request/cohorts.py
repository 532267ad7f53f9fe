"""Batching of requests in cohorts: those that come while one is under way start together, when it is over.

What starts together asks each server together, and so in one call: where all servers share a few cores, that is what
keeps answers fast when requests come fast. An idle service starts each request at once.

While several clients ask, each has only so much under way, and the rest of it waits: a cohort takes as long as the most
that one of them brings, and everybody waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pagoda.errors import RequestError
from serving.http.callers import Caller
from serving.http.client_shares import Clients

PATIENCE_SECONDS = 0.05
"""A cohort that takes longer, because a server does, keeps nobody waiting any more."""
SLICE = 16.0
"""Cost of what goes into a cohort as one, unless it is a single user: as many vectors as a search has."""
_ALONE = 64.0
"""Under way of a client that has a cohort to itself; more makes no call cheaper, and who comes next waits for it."""


class _Cohort:
    """Requests that started together, as long as others wait for them."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    caller: Caller
    cost: float
    start: asyncio.Future[_Cohort]


class Cohorts:
    """Starts requests, so many cohorts at once."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running = 0
        self._clients = Clients()
        self._active = 1
        self._load: dict[str, float] = {}
        """Cost under way, by client."""
        self._waiting: dict[str, deque[_Waiting]] = {}

    @asynccontextmanager
    async def joined(self, caller: Caller, cost: float = 1.0) -> AsyncIterator[bool]:
        """Wait for a start, and be a member of its cohort until the block ends.

        Yields:
            Whether nobody else starts with it, and no other cohort is under way.

        Raises:
            RequestError: The caller has left before it.
        """
        client = caller.client
        self._active = self._clients.ask(client)
        if self._running < self._at_once and client not in self._waiting and self._fits(client, cost):
            self._load[client] = self._load.get(client, 0.0) + cost
            cohort = self._start(1)
        else:
            cohort = await self._wait(_Waiting(caller, cost, asyncio.get_running_loop().create_future()))
        try:
            yield cohort.members == 1 and self._running == 1
        finally:
            self._leave(cohort, client, cost)

    async def _wait(self, one: _Waiting) -> _Cohort:
        self._waiting.setdefault(one.caller.client, deque()).append(one)
        try:
            return await one.start
        except asyncio.CancelledError:
            if one.start.done() and not one.start.cancelled():  # Told to start, and cancelled before it did.
                self._leave(one.start.result(), one.caller.client, one.cost)
            raise

    def _leave(self, cohort: _Cohort, client: str, cost: float) -> None:
        rest = self._load[client] - cost
        if rest > 0:
            self._load[client] = rest
        else:
            del self._load[client]
        cohort.members -= 1
        if not cohort.members:
            self._end(cohort)
        self._start_waiting()

    def _fits(self, client: str, cost: float) -> bool:
        own = self._load.get(client)
        return own is None or own + cost <= self._room

    @property
    def _room(self) -> float:
        """What one client may have under way."""
        if self._active == 1:
            return max(_ALONE, SLICE * self._at_once)
        return max(SLICE, SLICE * self._at_once / self._active)

    def _start(self, members: int) -> _Cohort:
        cohort = _Cohort(members)
        self._running += 1
        cohort.timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._end_by_time, cohort)
        return cohort

    def _end_by_time(self, cohort: _Cohort) -> None:
        self._end(cohort)
        self._start_waiting()

    def _end(self, cohort: _Cohort) -> None:
        """The cohort is over, or has taken too long."""
        if cohort.timer is not None:
            cohort.timer.cancel()
            cohort.timer = None
            self._running -= 1

    def _start_waiting(self) -> None:
        """Start whoever waits, each client as far as it has room."""
        if not self._waiting or self._running >= self._at_once:
            return
        members = [one for client in list(self._waiting) for one in self._next_of(client)]
        if members:
            cohort = self._start(len(members))
            for one in members:
                one.start.set_result(cohort)

    def _next_of(self, client: str) -> list[_Waiting]:
        found, waiting = [], self._waiting[client]
        while waiting and (waiting[0].caller.gone or self._fits(client, waiting[0].cost)):
            one = waiting.popleft()
            if one.start.done():
                continue
            if one.caller.gone:
                one.start.set_exception(RequestError("the caller has left"))
            else:
                self._load[client] = self._load.get(client, 0.0) + one.cost
                found.append(one)
        if not waiting:
            del self._waiting[client]
        return found
