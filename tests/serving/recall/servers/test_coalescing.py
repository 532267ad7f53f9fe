"""Joined calls: who asks together goes together, answers go where they belong, one's end is not another's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serving.recall.servers.coalescing import Coalescer
from serving.recall.servers.company import company


class Server:
    """Answers when it is told to; each answer names its ask."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def send(self, key: str, asks: Sequence[int]) -> list[str]:
        self.calls.append((key, list(asks)))
        await self.gate.wait()
        if self.error:
            raise self.error
        return [f"{key}{ask}" for ask in asks]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_asks_of_one_turn_are_one_call_and_so_are_those_that_come_meanwhile() -> None:
    server = Server()
    joined = Coalescer(server.send, at_once=2, most=3)
    asks = [asyncio.create_task(joined.ask("a", number)) for number in range(2)]
    await settle()
    asks += [asyncio.create_task(joined.ask("a", 2)), asyncio.create_task(joined.ask("b", 0))]
    await settle()
    asks += [asyncio.create_task(joined.ask("a", number)) for number in range(3, 8)]
    await settle()
    assert server.calls == [("a", [0, 1]), ("a", [2]), ("b", [0])]
    server.gate.set()
    assert await asyncio.gather(*asks) == ["a0", "a1", "a2", "b0", *(f"a{number}" for number in range(3, 8))]
    assert sorted(server.calls[3:]) == [("a", [3, 4, 5]), ("a", [6, 7])]
    await settle()
    assert joined._lines == {}


async def test_who_gave_up_is_not_asked_for_and_harms_nobody() -> None:
    server = Server()
    joined = Coalescer(server.send, at_once=1, most=10)
    asks = [asyncio.create_task(joined.ask("a", 0))]
    await settle()
    asks += [asyncio.create_task(joined.ask("a", number)) for number in range(1, 4)]
    await settle()
    asks[0].cancel()  # its call goes on, and so do the others
    asks[2].cancel()
    server.gate.set()
    assert await asyncio.gather(asks[1], asks[3]) == ["a1", "a3"]
    assert server.calls == [("a", [0]), ("a", [1, 3])]


async def test_an_error_reaches_all_of_its_call_and_no_later_one() -> None:
    server = Server()
    joined = Coalescer(server.send, at_once=1, most=2)
    asks = [asyncio.create_task(joined.ask("a", number)) for number in range(3)]
    await settle()
    server.error = ConnectionError("down")
    server.gate.set()
    assert [type(one) for one in await asyncio.gather(*asks, return_exceptions=True)] == [ConnectionError] * 3
    server.error = None
    assert await joined.ask("a", 9) == "a9"


@pytest.mark.parametrize("at_once", [1, 3])
async def test_no_more_calls_at_once_than_allowed(at_once: int) -> None:
    running, most = 0, 0

    async def send(_: str, asks: Sequence[int]) -> Sequence[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await settle()
        running -= 1
        return asks

    joined = Coalescer(send, at_once=at_once, most=4)
    assert await asyncio.gather(*(joined.ask("a", number) for number in range(100))) == list(range(100))
    assert most == at_once


async def test_who_has_no_company_waits_for_nobody() -> None:
    server = Server()
    server.gate.set()
    joined = Coalescer(server.send, at_once=1, most=10)
    with company(there=False):
        alone = joined.ask("a", 0)
        with pytest.raises(StopIteration):  # Not one turn of the loop.
            alone.send(None)
    assert server.calls == [("a", [0])]
