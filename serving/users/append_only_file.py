"""What a killed Redis would still know: what it has written to its append-only file.

With `appendfsync everysec`, its default, Redis writes nothing while a flush is in progress, for up to two seconds, and
answers meanwhile (`flushAppendOnlyFile` in src/aof.c of Redis 6.2 and of Valkey at 55bbbe0). Whoever promises that
something lasts, or passes it on, asks here first. Where there is no flush, the file is written before the answer is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis import Redis

from pagoda.errors import UnavailableError

UNWRITTEN_IN = """
local function unwritten_in()
  local pending = string.match(redis.call('INFO', 'persistence'), 'aof_pending_bio_fsync:(%d+)') or '0'
  return pending == '0' and '' or string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end
"""
"""Lua: the run of Redis (its `run_id`) that may have yet to write what the script wrote; empty: none has."""
_LOOK = """
local info = redis.call('INFO', 'persistence')
local function number(name) return tonumber(string.match(info, name .. ':(%d+)') or 0) end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
return {run, number('aof_current_size'), number('aof_buffer_length')}
"""
_POLL_SECONDS = 0.005
_PATIENCE_SECONDS = 4.0
"""A flush holds Redis up for two; a client waits for five."""
_LATE = f"Redis has not written its append-only file for {_PATIENCE_SECONDS:g} s: its disk is too busy, or full"


@dataclass(slots=True)
class Backlog:
    """What a run of Redis had yet to write at the first look."""

    run: bytes = b""
    """Empty: whichever is found."""
    _size: int = 0
    _end: int | None = None

    def is_written(self, look: Sequence[Any]) -> bool:
        """Whether all of it is in the file by now.

        Raises:
            UnavailableError: Redis was started again, and may have lost it.
        """
        run, size, waiting = look
        self.run = self.run or run
        if run != self.run:
            raise UnavailableError("Redis was started again meanwhile")
        if self._end is None or size < self._size:  # A shorter file is a new one, and has what the old one had.
            self._end = size + waiting
        self._size = size
        return not waiting or bool(size >= self._end)


class AppendOnlyFile:
    """That of the Redis that a service writes to. One look serves all who wait."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._look = client.register_script(_LOOK)
        self._next: asyncio.Task[Sequence[Any]] | None = None

    async def written(self, run: bytes) -> None:
        """Wait until all that a run of Redis has answered for is in its file.

        Raises:
            UnavailableError: It ended before that, or it takes too long.
            RedisError: Redis does not answer.
        """
        backlog = Backlog(run)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not backlog.is_written(await self._next_look()):
                    pass
        except TimeoutError as error:
            raise UnavailableError(_LATE) from error

    async def _next_look(self) -> Sequence[Any]:
        """One that has not begun yet, so that it sees what was there when it was asked for."""
        if self._next is None:
            self._next = asyncio.create_task(self._look_soon())
        return await asyncio.shield(self._next)

    async def _look_soon(self) -> Sequence[Any]:
        await asyncio.sleep(_POLL_SECONDS)
        self._next = None
        return list(await self._look())


def wait_written(client: Redis) -> None:
    """Wait until all that Redis has answered for is in its file.

    Raises:
        UnavailableError: It is started again meanwhile, or it takes too long.
        RedisError: Redis does not answer.
    """
    look, backlog, deadline = client.register_script(_LOOK), Backlog(), time.monotonic() + _PATIENCE_SECONDS
    while not backlog.is_written(look()):
        if time.monotonic() > deadline:
            raise UnavailableError(_LATE)
        time.sleep(_POLL_SECONDS)
