"""Asks of one turn of the event loop: computed together, answered each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serving.turns import Turns


class Computer:
    """Doubles numbers, refuses negative ones, and breaks at zero."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.turns: Turns[str, int, int] = Turns(self._compute, most=3)

    def _compute(self, key: str, asks: Sequence[int]) -> list[int | Exception]:
        self.calls.append((key, list(asks)))
        if 0 in asks:
            raise RuntimeError("broken")
        return [2 * ask if ask > 0 else ValueError(ask) for ask in asks]


async def test_who_asks_in_one_turn_is_answered_together_by_key_and_by_the_most() -> None:
    computer = Computer()
    asked = (("a", 1), ("b", 2), ("a", 3), ("a", 4), ("a", 5))
    assert await asyncio.gather(*(computer.turns.ask(*one) for one in asked)) == [2, 4, 6, 8, 10]
    assert computer.calls == [("a", [1, 3, 4]), ("b", [2]), ("a", [5])]
    assert await computer.turns.ask("a", 6) == 12


async def test_what_is_joined_is_counted_by_its_size() -> None:
    calls: list[list[int]] = []

    def compute(_: str, asks: Sequence[int]) -> list[int]:
        calls.append(list(asks))
        return list(asks)

    turns: Turns[str, int, int] = Turns(compute, most=4, size=lambda ask: ask)
    assert await asyncio.gather(*(turns.ask("a", ask) for ask in (2, 2, 1, 9, 3, 1))) == [2, 2, 1, 9, 3, 1]
    assert calls == [[2, 2], [1], [9], [3, 1]]


async def test_ones_error_is_ones_own_and_so_is_what_one_broke() -> None:
    computer = Computer()
    found = await asyncio.gather(*(computer.turns.ask("a", ask) for ask in (-1, 1, -2)), return_exceptions=True)
    assert [str(one) for one in found] == ["-1", "2", "-2"]
    found = await asyncio.gather(*(computer.turns.ask("a", ask) for ask in (0, 1)), return_exceptions=True)
    assert [str(one) for one in found] == ["broken", "2"]


@pytest.mark.parametrize("leaves", [0, 1])
async def test_who_leaves_takes_nobodys_answer_along(leaves: int) -> None:
    computer = Computer()
    tasks = [asyncio.create_task(computer.turns.ask("a", ask)) for ask in (1, 2)]
    asyncio.get_running_loop().call_soon(tasks[leaves].cancel)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[1 - leaves] == 2 * (2 - leaves) and isinstance(found[leaves], asyncio.CancelledError)
