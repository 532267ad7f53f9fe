"""Who is being forgotten, in Redis, for as long as events of theirs may still be on their way.

forgotten   sorted set of users by the moment, ms, until when events of theirs are dropped wherever they turn up: in a
            request, in Kafka, in the stream, in a file that becomes a part of another
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import LockError, RedisError

from pagoda.errors import UnavailableError

FORGOTTEN = "forgotten"
_LOCK_SECONDS, _WAIT_SECONDS = 600, 60
"""How long somebody may erase from one file, and how long others wait for them."""


class Tombstones:
    """Those of one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def put(self, user: str, days: float) -> None:
        """Drop all events of a user for so many days."""
        until_ms = int((time.time() + 86_400 * days) * 1000)
        with _asking():
            pipeline = self._redis.pipeline()
            # Never sooner than somebody was told before.
            pipeline.zadd(FORGOTTEN, {user: until_ms}, gt=True)
            pipeline.zremrangebyscore(FORGOTTEN, 0, int(time.time() * 1000))
            pipeline.execute()

    def standing(self) -> frozenset[str]:
        """Whose events are dropped now."""
        with _asking():
            found: Any = self._redis.zrangebyscore(FORGOTTEN, int(time.time() * 1000), "+inf")
        return frozenset(user.decode() for user in found)

    @contextmanager
    def lock(self, file: str) -> Iterator[None]:
        """Be the only one who erases from a file.

        Raises:
            UnavailableError: Somebody else has been at it for a minute.
        """
        lock = self._redis.lock(f"erasing:{file}", timeout=_LOCK_SECONDS, blocking_timeout=_WAIT_SECONDS)
        try:
            with _asking(), lock:
                yield
        except LockError as error:
            raise UnavailableError(f"{file}: somebody else is erasing from it; try again") from error


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except LockError:
        raise
    except RedisError as error:
        raise UnavailableError(f"online store: {type(error).__name__} while users are forgotten; try again") from error
