"""Asks of one turn of the event loop, answered together by what computes in this process and waits for nothing.

For such a thing `Coalescer`'s tasks and calls under way are only delay: there is nothing to wait for, so all who ask in
a turn are answered in the next one, by whoever asked first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
Compute = Callable[[Key, Sequence[Ask]], Sequence[Answer | Exception]]
"""Answers several asks of one key, each by its answer or by what it must raise."""


class Turns(Generic[Key, Ask, Answer]):
    """Joins asks of one key, at most so many."""

    def __init__(self, compute: Compute[Key, Ask, Answer], *, most: int) -> None:
        self._compute, self._most = compute, most
        self._turns: dict[Key, list[tuple[Ask, asyncio.Future[Answer] | None]]] = {}
        """Who asked in this turn; the first one, who has no future, computes."""

    async def ask(self, key: Key, ask: Ask) -> Answer:
        """The answer to one ask."""
        if (turn := self._turns.get(key)) is not None and len(turn) < self._most:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            turn.append((ask, answer))
            return await answer
        turn = self._turns[key] = [(ask, None)]
        try:
            await asyncio.sleep(0)
        finally:  # Should the first one give up just now, the others are answered all the same.
            if self._turns.get(key) is turn:
                del self._turns[key]
            own = self._answer(key, turn)
        if isinstance(own, Exception):
            raise own
        return own

    def _answer(self, key: Key, turn: Sequence[tuple[Ask, asyncio.Future[Answer] | None]]) -> Answer | Exception:
        """Answer all others; the first one's answer."""
        try:
            answers = self._compute(key, [ask for ask, _ in turn])
        except Exception as error:
            answers = [error] * len(turn)
        for (_, future), answer in zip(turn, answers, strict=True):
            if future is None or future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return answers[0]
