"""What a process does beside answering: loops that never end by themselves, and end with the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

Loop = Callable[[], Coroutine[Any, Any, None]]
_PAUSE_SECONDS = 1.0
_log = logging.getLogger(__name__)


@asynccontextmanager
async def background(*loops: Loop) -> AsyncIterator[None]:
    """Run these until the block ends. One that fails nevertheless says why, and starts again."""
    async with AsyncExitStack() as stack:
        for loop in loops:
            stack.push_async_callback(cancel, asyncio.create_task(_go_on(loop)))
        yield


async def every(seconds: float, step: Callable[[], Awaitable[None]]) -> NoReturn:
    """Take a step now, and again after each pause, until cancelled."""
    while True:
        await step()
        await asyncio.sleep(seconds)


async def cancel(task: asyncio.Task[None]) -> None:
    """End a task that goes on in the background, and wait for its end."""
    while not task.done():
        # More than once: what it waits for may take the cancellation for itself, as `asyncio.wait_for` of Python 3.11
        # does where its own future ends at the same moment (python/cpython#86296).
        task.cancel()
        await asyncio.wait([task], timeout=_PAUSE_SECONDS)
    if not task.cancelled():
        task.result()


async def _go_on(loop: Loop) -> None:
    while True:
        try:
            await loop()
        except Exception:
            _log.exception("a loop in the background failed; it starts again")
        await asyncio.sleep(_PAUSE_SECONDS)
