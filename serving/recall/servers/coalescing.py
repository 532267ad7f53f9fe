"""Asks of one turn of the event loop, and those that come while calls are under way, joined into one call.

Servers take many users in one call for little more than one. So the busier the service is, the less a request costs,
and an idle service answers as if it did not join anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from serving.recall.servers.company import accompanied

Key = TypeVar("Key", bound=Hashable)
Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
Send = Callable[[Key, Sequence[Ask]], Awaitable[Sequence[Answer]]]
"""One call for several asks of one key; as many answers, in order."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Ask, Answer]):
    """An ask that goes with the next call."""

    ask: Ask
    answer: asyncio.Future[Answer]
    context: Context
    """Of whoever asks: a call belongs to the trace of its first ask."""


@dataclass
class _Line(Generic[Ask, Answer]):
    """The asks of one key."""

    running: int = 0
    starting: bool = False
    """Whether the next turn of the loop starts a call."""
    waiting: deque[_Waiting[Ask, Answer]] = field(default_factory=deque)


class Coalescer(Generic[Key, Ask, Answer]):
    """Sends asks of one key, at most so many calls at once."""

    def __init__(
        self, send: Send[Key, Ask, Answer], *, at_once: int, most: int, size: Callable[[Ask], int] = lambda _: 1
    ) -> None:
        """Make one.

        Args:
            send: Makes a call.
            at_once: Calls of one key under way; further asks wait for one to end, and go together.
            most: Largest sum of the sizes of a call's asks; a larger ask goes alone.
            size: Of an ask.
        """
        self._send, self._at_once, self._most, self._size = send, at_once, most, size
        self._lines: dict[Key, _Line[Ask, Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: Key, ask: Ask) -> Answer:
        """The answer to one ask. What `send` raises, all asks of its call raise."""
        if not accompanied():
            (alone,) = await self._send(key, [ask])
            return alone
        line = self._lines.setdefault(key, _Line())
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        line.waiting.append(_Waiting(ask, answer, copy_context()))
        self._start_soon(key, line)
        return await answer

    def _start_soon(self, key: Key, line: _Line[Ask, Answer]) -> None:
        """Not now: a task begins in the next turn of the loop, and whoever asks in this one goes with its call."""
        if line.waiting and line.running < self._at_once and not line.starting:
            line.starting = True
            task = asyncio.create_task(self._run(key, line), context=line.waiting[0].context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self, line: _Line[Ask, Answer]) -> list[_Waiting[Ask, Answer]]:
        """Who goes with the next call: those that still wait, in order."""
        batch: list[_Waiting[Ask, Answer]] = []
        room = self._most
        while line.waiting and (not batch or self._size(line.waiting[0].ask) <= room):
            if not (next_ := line.waiting.popleft()).answer.done():
                batch.append(next_)
                room -= self._size(next_.ask)
        return batch

    async def _run(self, key: Key, line: _Line[Ask, Answer]) -> None:
        line.starting = False
        line.running += 1
        batch = self._next(line)
        self._start_soon(key, line)  # Whoever did not fit.
        try:
            answers = await self._send(key, [one.ask for one in batch]) if batch else ()
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)
        except Exception as error:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
        finally:
            line.running -= 1
            self._start_soon(key, line)
            if not line.running and not line.starting:
                self._lines.pop(key, None)
