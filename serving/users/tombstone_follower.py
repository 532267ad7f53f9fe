"""Telling a process who is being forgotten, so that it remembers them no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from serving.background import every
from serving.users.tombstones import FORGOTTEN

_POLL_SECONDS = 5.0


class Forgetting:
    """Follows the tombstones."""

    def __init__(self, url: str, forget: Callable[[Collection[str]], None]) -> None:
        """Make a connection when it is needed; `forget` is told of users once more whenever there is a new one."""
        self._redis: Redis = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._forget = forget
        self._known: frozenset[str] = frozenset()

    async def follow(self) -> None:
        """Follow until cancelled."""
        await every(_POLL_SECONDS, self.look)

    async def look(self) -> None:
        """Look once. Without an answer, the next look tells."""
        try:
            found: Any = await self._redis.zrangebyscore(FORGOTTEN, int(time.time() * 1000), "+inf")
        except (RedisError, OSError):
            return
        standing = frozenset(user.decode() for user in found)
        if standing - self._known:
            self._forget(standing)
        self._known = standing

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()
