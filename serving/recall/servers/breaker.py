"""A circuit breaker: a server that failed again and again is left alone, but for one request now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pagoda.errors import UnavailableError
from serving.http.deadlines import LateError, left
from serving.recall.metrics import BREAKERS

Answer = TypeVar("Answer")
FAILURES = 5
"""In a row, after which nobody is asked any more."""
PAUSE_SECONDS = 1.0
"""From then, or from a probe that failed, to the next probe."""
FORGOTTEN_SECONDS = 3600.0
"""A breaker that nobody asked for so long belongs to a version that serves no more."""
CLOSED, HALF_OPEN, OPEN = 0, 1, 2
"""As the metric has it."""


class Breaker:
    """Stands before one server. Closed: all calls go. Open: none. Half open: one goes, and decides.

    Own code, since what there is for asyncio lets all calls through while half open, or has stopped.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._part = name.partition(" ")[0]
        self._failures = 0
        self._next_probe = 0.0
        self._probing = False
        self._tell()

    async def call(self, make: Callable[[], Awaitable[Answer]], seconds: float, *, slow_is_down: bool = True) -> Answer:
        """Await what `make` makes, if the server may be asked, for at most `seconds` and what the request has left.

        Args:
            make: The call.
            seconds: It may take.
            slow_is_down: Whether one that takes longer speaks against the server; else it does against the question.

        Raises:
            LateError: It did not answer in time.
            UnavailableError: It was not asked, or says so.
        """
        allowed = left(seconds)
        if allowed <= 0:
            raise LateError(f"{self._name}: the request's deadline has passed", part=self._part)
        probe = self._admit()
        try:
            async with asyncio.timeout(allowed):
                answer = await make()
        except (UnavailableError, TimeoutError) as error:
            # A caller in a hurry does not say that the server is slow.
            if isinstance(error, UnavailableError) or (slow_is_down and allowed >= seconds):
                self._failed()
            if isinstance(error, TimeoutError):
                raise LateError(f"{self._name}: no answer within {allowed:.3g} s", part=self._part) from error
            raise
        except Exception:
            self._succeeded()  # It answers; what it says is another matter.
            raise
        else:
            self._succeeded()
            return answer
        finally:
            if probe:
                self._probing = False
                self._tell()  # Also of one that was given up: it has decided nothing.

    @property
    def state(self) -> int:
        """`CLOSED`, `HALF_OPEN` or `OPEN`."""
        if self._failures < FAILURES:
            return CLOSED
        return HALF_OPEN if self._probing else OPEN

    def _admit(self) -> bool:
        """Whether the call is a probe; raises where there is to be none."""
        if self._failures < FAILURES:
            return False
        if self._probing or self._clock() < self._next_probe:
            raise UnavailableError(
                f"{self._name}: not asked, since it failed {self._failures} times in a row", part=self._part
            )
        self._probing = True
        self._tell()
        return True

    def _succeeded(self) -> None:
        before, self._failures = self._failures, 0
        if before >= FAILURES:
            self._tell()

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._next_probe = self._clock() + PAUSE_SECONDS
            self._tell()

    def _tell(self) -> None:
        BREAKERS.labels(self._name).set(self.state)


class Breakers:
    """One breaker for each server and version, so that one version's trouble does not keep others from its server."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}
        self._asked: dict[str, float] = {}

    def of(self, name: str) -> Breaker:
        """The breaker of that name; it is made when it is first asked for, and forgotten when nobody does any more."""
        now = self._clock()
        if name not in self._breakers:
            self._forget(now - FORGOTTEN_SECONDS)
            self._breakers[name] = Breaker(name, clock=self._clock)
        self._asked[name] = now
        return self._breakers[name]

    def _forget(self, before: float) -> None:
        for name in [name for name, asked in self._asked.items() if asked < before]:
            del self._breakers[name], self._asked[name]
            BREAKERS.remove(name)
