"""What became of new items since they came: counted in Redis where events are taken, read every few seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from redis.asyncio import Redis

from pagoda.channels.base import Int64Array
from serving.users.keys import EXPLORED, Key

_KEPT_SECONDS = 86_400
"""After the last process that explores has looked."""
_AS_OF = b"as_of"

# KEYS: the counts. ARGV: the end of the window that says which items are new, seconds that the counts are kept; for
# each item its name, impressions and positives as of then.
# What was counted of an item stands; one that is new no more is counted no more. A window that ended before has no say.
_BEGIN = """
if tonumber(redis.call('HGET', KEYS[1], 'as_of') or -1) >= tonumber(ARGV[1]) then return end
local kept = {'as_of', ARGV[1]}
for i = 3, #ARGV, 3 do
  local counted = redis.call('HMGET', KEYS[1], 'n:' .. ARGV[i], 'c:' .. ARGV[i])
  table.insert(kept, 'n:' .. ARGV[i])
  table.insert(kept, counted[1] or ARGV[i + 1])
  table.insert(kept, 'c:' .. ARGV[i])
  table.insert(kept, counted[2] or ARGV[i + 2])
end
redis.call('DEL', KEYS[1])
for i = 1, #kept, 2 do redis.call('HSET', KEYS[1], kept[i], kept[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


class ExplorationCounts:
    """The counts of all new items. They are the same for all generations, so both arms learn from all users."""

    def __init__(self, url: str) -> None:
        """Make a connection to `redis://host:port/db` when it is needed."""
        self._redis: Redis = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._begin = self._redis.register_script(_BEGIN)

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    async def look(self, window_end_us: int, names: list[Key], counts: Int64Array) -> dict[bytes, bytes]:
        """Read all counts. Where a window that ended later than any before says which items are new, count those.

        Args:
            window_end_us: When it ended.
            names: The items that it says are new.
            counts: Their impressions and positives by then, int64 [2, n], for those that nobody counted.

        Raises:
            RedisError: Redis refuses it.
            OSError: It does not answer.
        """
        found = await self._read()
        if int(found.get(_AS_OF, -1)) >= window_end_us:
            return found
        told: list[Any] = [window_end_us, _KEPT_SECONDS]
        for name, impressions, clicks in zip(names, *counts.tolist(), strict=True):
            told += [name, impressions, clicks]
        await self._begin([EXPLORED], told)
        return await self._read()

    async def _read(self) -> dict[bytes, bytes]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(EXPLORED)
        pipeline.expire(EXPLORED, _KEPT_SECONDS)
        found: dict[bytes, bytes] = (await pipeline.execute())[0]
        return found


def counts_of(names: list[Key], found: dict[bytes, bytes]) -> Int64Array:
    """Impressions and positives of items, int64 [2, n]; -1 for one that is not counted."""
    keys = [str(name).encode() for name in names]
    return np.array([[int(found.get(what + key, -1)) for key in keys] for what in (b"n:", b"c:")], np.int64)
