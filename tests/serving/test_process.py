"""What goes on in the background of a process."""

from __future__ import annotations

import asyncio

import pytest

from serving import process
from serving.process import cancel, go_on


async def test_what_failed_starts_again_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_PAUSE_SECONDS", 0.0)
    tries, enough = 0, asyncio.Event()

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise KeyError("what nobody thought of")
        enough.set()
        await asyncio.Event().wait()

    going = asyncio.create_task(go_on(work))
    await asyncio.wait_for(enough.wait(), 10)
    await cancel(going)
    assert going.cancelled()
    assert caplog.text.count("KeyError: ") == 2 == caplog.text.count("starts again")
