"""Cohorts: what comes while one is under way starts together, and nobody waits long for others."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.callers import Caller
from serving.recall.request import cohorts
from serving.recall.request.cohorts import Cohorts


class Requests:
    """Requests that take until they are told to end."""

    def __init__(self, at_once: int) -> None:
        self.cohorts = Cohorts(at_once)
        self.started: list[str] = []
        self.alone: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, names: str) -> None:
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._one(name))
        await self.settle()

    async def end(self, names: str) -> None:
        for name in names:
            self.ends[name].set()
        await self.settle()

    async def wait_for(self, name: str) -> None:
        async with asyncio.timeout(5):
            while name not in self.started:
                await asyncio.sleep(0.001)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _one(self, name: str) -> None:
        async with self.cohorts.joined(Caller()) as alone:
            self.started.append(name)
            self.alone += [name] * alone
            await self.ends[name].wait()


async def test_what_comes_meanwhile_starts_together_when_the_cohort_is_over() -> None:
    requests = Requests(1)
    await requests.come("a")
    await requests.come("bcd")
    assert requests.started == ["a"]
    await requests.end("a")
    assert requests.started == ["a", "b", "c", "d"]
    await requests.come("e")
    await requests.end("bc")
    assert "e" not in requests.started
    await requests.end("d")
    assert requests.started[-1] == "e"
    assert requests.alone == ["a", "e"]
    await requests.end("e")
    await requests.come("f")
    assert requests.started[-1] == "f"
    await requests.end("f")


async def test_several_cohorts_are_under_way_where_they_may() -> None:
    requests = Requests(2)
    await requests.come("abc")
    assert requests.started == ["a", "b"]
    await requests.end("a")
    assert requests.started == ["a", "b", "c"]
    await requests.end("bc")


async def test_a_slow_cohort_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "PATIENCE_SECONDS", 0.01)
    requests = Requests(1)
    await requests.come("slow")
    await requests.come("xy")
    await requests.wait_for("y")
    await requests.end("slowxy")
    await asyncio.gather(*requests.tasks.values())
    assert requests.cohorts._running == 0


@pytest.mark.parametrize("when", ["waiting", "starting", "running"])
async def test_who_gives_up_keeps_nobody_from_starting(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "PATIENCE_SECONDS", 0.01)
    requests = Requests(1)
    await requests.come("a")
    await requests.come("bc")
    if when == "waiting":
        requests.tasks["b"].cancel()
    requests.ends["a"].set()
    if when == "starting":  # told to start, and cancelled before it does
        while not requests.tasks["a"].done():
            await asyncio.sleep(0)
        requests.tasks["b"].cancel()
    await requests.settle()
    requests.tasks["b"].cancel()
    await requests.end("c")
    await requests.come("d")
    await requests.wait_for("d")
    await requests.end("d")
    assert requests.tasks["b"].cancelled()
    assert requests.cohorts._running == 0
