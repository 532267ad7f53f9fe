"""Asks of one turn of the event loop, answered together by what computes in this process and waits for nothing.

For such a thing `Coalescer`'s tasks and calls under way are only delay: there is nothing to wait for, so all who ask in
a turn are answered in the next one, by whoever asked first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
Compute = Callable[[Key, Sequence[Ask]], Sequence[Answer | Exception]]
"""Answers several asks of one key, each by its answer or by what it must raise."""


@dataclass(slots=True)
class _Turn(Generic[Ask, Answer]):
    """Who asked in one turn; the first one, who has no future, computes."""

    size: int
    asked: list[tuple[Ask, asyncio.Future[Answer] | None]]


class Turns(Generic[Key, Ask, Answer]):
    """Joins asks of one key."""

    def __init__(
        self, compute: Compute[Key, Ask, Answer], *, most: int, size: Callable[[Ask], int] = lambda _: 1
    ) -> None:
        """Nothing is asked yet.

        Args:
            compute: Answers asks. Where it raises, each is computed by itself: whose fault it was, it is theirs alone.
            most: What is joined, at most; an ask that is larger is computed alone.
            size: How much of that an ask is.
        """
        self._compute, self._most, self._size = compute, most, size
        self._turns: dict[Key, _Turn[Ask, Answer]] = {}

    async def ask(self, key: Key, ask: Ask) -> Answer:
        """The answer to one ask."""
        size = self._size(ask)
        if (turn := self._turns.get(key)) is not None and turn.size + size <= self._most:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            turn.size += size
            turn.asked.append((ask, answer))
            return await answer
        turn = self._turns[key] = _Turn(size, [(ask, None)])
        try:
            await asyncio.sleep(0)
        finally:  # Should the first one give up just now, the others are answered all the same.
            if self._turns.get(key) is turn:
                del self._turns[key]
            own = self._answer(key, turn.asked)
        if isinstance(own, Exception):
            raise own
        return own

    def _answer(self, key: Key, turn: Sequence[tuple[Ask, asyncio.Future[Answer] | None]]) -> Answer | Exception:
        """Answer all others; the first one's answer."""
        answers = self._computed(key, [ask for ask, _ in turn])
        for (_, future), answer in zip(turn, answers, strict=True):
            if future is None or future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return answers[0]

    def _computed(self, key: Key, asks: Sequence[Ask]) -> Sequence[Answer | Exception]:
        try:
            return self._compute(key, asks)
        except Exception as error:
            return [error] if len(asks) == 1 else [answer for ask in asks for answer in self._computed(key, [ask])]
