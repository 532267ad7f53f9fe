"""What goes on in the background of a process."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from serving import background as module
from serving.background import background, cancel, every


async def test_what_failed_starts_again_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    tries, enough = 0, asyncio.Event()

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise KeyError("what nobody thought of")
        enough.set()
        await asyncio.Event().wait()

    async with background(work):
        await asyncio.wait_for(enough.wait(), 10)
    assert caplog.text.count("KeyError: ") == 2 == caplog.text.count("starts again")


async def test_it_ends_with_its_block() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background(work):
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_a_step_is_taken_at_once_and_again() -> None:
    taken = 0

    async def step() -> None:
        nonlocal taken
        taken += 1

    going = asyncio.create_task(every(0.001, step))
    async with asyncio.timeout(10):
        while taken < 3:
            await asyncio.sleep(0.001)
    await cancel(going)


async def test_it_ends_although_a_client_takes_the_first_cancellation_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)

    async def work() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancel(task), 10)
    assert task.cancelled()
