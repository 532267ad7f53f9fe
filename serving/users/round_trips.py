"""Round trips to Redis, each of several commands, on redis-py's connections.

Its client does more around a call than Redis does in it: a task for the write, a timer for each reply, metrics of its
own, retries with pauses. Here one limit holds for all of a round trip, which takes half of the processor time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as NotConnectedError

Command = Sequence[bytes | str | int | float]


class RoundTrips:
    """To one Redis. Safe to share between requests."""

    def __init__(self, url: str, seconds: float) -> None:
        """No connection is opened yet.

        Args:
            url: Of Redis.
            seconds: What a round trip may take, a new connection included.
        """
        # A limit of a connection's own is a task for each write, and a timer for each reply.
        self._made_by, self._seconds = ConnectionPool.from_url(url, socket_timeout=None), seconds
        self._idle: list[AbstractConnection] = []
        self._closed = False

    async def close(self) -> None:
        """Close the connections; one that is in use is closed when its round trip ends."""
        self._closed = True
        while self._idle:
            await self._idle.pop().disconnect()

    async def make(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, which must do no harm when they are sent twice; the replies, in their order.

        Raises:
            RedisError: Redis refuses one.
            OSError: It does not answer in time.
        """
        async with asyncio.timeout(self._seconds):
            while self._idle:
                try:
                    return await self._exchange(self._idle.pop(), commands)
                except NotConnectedError:
                    continue  # It was closed since it was last used: Redis was started again, say.
            return await self._exchange(self._new(), commands)

    def _new(self) -> AbstractConnection:
        connection: AbstractConnection = self._made_by.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def _exchange(self, connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            replies = [await connection.read_response() for _ in commands]
        except BaseException:  # Given up by its caller, too: a reply that nobody read would be the next one's.
            await connection.disconnect(nowait=True)
            raise
        if self._closed:
            await connection.disconnect()
        else:
            self._idle.append(connection)
        return replies
