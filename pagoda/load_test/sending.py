"""Sending a plan, and taking down what comes back."""

from __future__ import annotations

import asyncio
import gc
import selectors
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.errors import UnavailableError
from pagoda.load_test.connection import Address, Connection
from pagoda.load_test.outcomes import NO_ANSWER, TOO_LATE, Outcomes
from pagoda.load_test.plan import LoadPlan

PREDICT = "/v1/models/recall:predict"
_DRAWN = 100_000
"""Users drawn for connections that ask as fast as they can; then they come again."""
Progress = Callable[[Outcomes], None]
_REPORT_SECONDS = 0.5


def send(
    plan: LoadPlan,
    url: str,
    *,
    connections: int,
    timeout_seconds: float = 5.0,
    path: str = PREDICT,
    token: str = "",
    outcomes: Outcomes | None = None,
    ending: threading.Event | None = None,
    progress: Progress | None = None,
) -> Outcomes:
    """Send all requests of `plan` to the recall service at `url` and wait for their ends.

    A request that finds all connections busy waits for one, and its time runs from the moment it was due.

    Args:
        plan: What to send.
        url: Base URL, http or https.
        connections: At once, 1 to 900.
        timeout_seconds: After it was sent, a request counts as failed.
        path: Of the endpoint.
        token: Of the role that it needs.
        outcomes: Where to take down what comes back, for who watches it from another thread.
        ending: Once it is set, nothing more is sent.
        progress: Told twice a second what came back so far.

    Raises:
        ConfigError: `url` is none.
    """
    address = Address.of(url, path, token)
    ending, outcomes = ending or threading.Event(), Outcomes() if outcomes is None else outcomes
    sender = _Sender(plan, address, connections, timeout_seconds, outcomes, ending)
    # select() waits to the microsecond; epoll, and so uvloop, to the millisecond, which would count as latency.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        # A full collection would hold up requests for tens of milliseconds.
        gc.collect()
        gc.freeze()
        runner.run(sender.run(progress))
    return outcomes


@dataclass
class _Sender:
    plan: LoadPlan
    address: Address
    connections: int
    timeout: float
    outcomes: Outcomes
    ending: threading.Event
    start: float = 0.0

    async def run(self, progress: Progress | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.start = self.loop.time()
        reporting = asyncio.create_task(self._report(progress)) if progress else None
        open_ = [Connection(self.address) for _ in range(self.connections)]
        try:
            await (self._open_loop(open_) if self.plan.rate else self._closed_loop(open_))
        finally:
            for connection in open_:
                connection.close()
            if reporting:
                reporting.cancel()

    async def _open_loop(self, connections: list[Connection]) -> None:
        # The one that was used last comes first: what is connected is what is needed, as with any pool of clients.
        idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in connections:
            idle.put_nowait(connection)
        moments = self.plan.moments()
        self.start = self.loop.time()
        async with asyncio.TaskGroup() as asking:
            for due, place in self._schedule(moments):
                if (pause := self.start + due - self.loop.time()) > 0:
                    await asyncio.sleep(pause)
                connection = await idle.get()
                if self.ending.is_set():
                    break
                asking.create_task(self._ask_by(idle, connection, due, place))

    def _schedule(self, moments: NDArray[np.float64]) -> Iterator[tuple[float, int]]:
        return zip(moments.tolist(), self.plan.draw(len(moments)).tolist(), strict=True)

    async def _ask_by(self, idle: asyncio.Queue[Connection], connection: Connection, due: float, place: int) -> None:
        await self._ask(connection, due, place)
        idle.put_nowait(connection)

    async def _closed_loop(self, connections: list[Connection]) -> None:
        drawn = self.plan.draw(_DRAWN).tolist()
        turn = iter(range(1 << 62))

        async def ask_again(connection: Connection) -> None:
            while (now := self.loop.time() - self.start) < self.plan.seconds and not self.ending.is_set():
                await self._ask(connection, now, drawn[next(turn) % _DRAWN])

        await asyncio.gather(*(ask_again(connection) for connection in connections))

    async def _ask(self, connection: Connection, due: float, place: int) -> None:
        kind, degraded, status, content = NO_ANSWER, False, 0, b""
        try:
            status, content = await connection.post(self.plan.body(place), self.timeout)
        except TimeoutError:
            kind = TOO_LATE
        except UnavailableError:
            # A closed port refuses at once: without a pause, this would be all that the machine does.
            await asyncio.sleep(0.01)
        seconds = self.loop.time() - self.start - due
        if status:
            kind, degraded = self.outcomes.read(status, content)
        self.outcomes.add(due, seconds, kind, degraded)

    async def _report(self, progress: Progress) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            progress(self.outcomes)
