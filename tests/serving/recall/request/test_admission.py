"""Who has to come back later."""

from __future__ import annotations

import asyncio

from serving.http.overload import ShedError
from serving.recall.request.admission import Admission
from tests.serving.recall.failing import Failing
from tests.serving.recall.setting import ask


async def test_too_much_at_once_is_told_to_come_back(failing: Failing) -> None:
    gate = asyncio.Event()
    failing.recall._admission = Admission(10)

    async def wait(_: str) -> None:
        await gate.wait()

    failing.tower.wait = wait
    many = [asyncio.create_task(failing.recall.answer(ask(user_id=user))) for user in range(30)]
    while sum(task.done() for task in many) < 20:
        await asyncio.sleep(0)
    gate.set()
    ends = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(end, ShedError) for end in ends) == 20
    assert len(await failing.recall.answer(ask() * 50)) == 50  # alone, whatever its size
