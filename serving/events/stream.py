"""The event stream: accepted events on their way to the sink and into their users' recent behaviour.

In Redis, one script does both, all or none. With Kafka before it (`serving.events.kafka`), the same script applies its
records, and remembers in the same stroke how far it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from pagoda.errors import UnavailableError
from serving.events.rules import Accepted
from serving.reasons import reason
from serving.recall.store import RECENT_LENGTH, SEEN_LENGTH, recent_key, seen_key
from serving.users.tombstones import FORGOTTEN

STREAM = "events"
FIELD = b"event"
"""The one field of a stream entry: the row as JSON."""
APPLIED = "events:applied"
"""By partition of Kafka the last offset that is in the stream."""
REMEMBERED_SECONDS = 3600
"""How long an event ID is remembered, so that a retry is known as one; about 90 bytes of Redis each."""
_CONNECTIONS = 16
_WAIT_SECONDS = 5.0
"""For one of them. Many clients at once on a busy machine are no failure of Redis."""
_FULL, _OUT_OF_ORDER = -1, -2

# KEYS: the stream, the applied offsets, the forgotten users; for each event its mark, the user's recent behaviour, the
# user's seen items.
# ARGV: longest stream, seconds of a mark, recent length, seen length; the record's partition, its offset and that of
# the record before it, all empty where there is no Kafka; for each event the row, its moment, the entry of recent
# behaviour and the seen item, these two empty where the event is none, and the user.
_TAKE = """
local function push(key, moment, entry)
  local function time(of) return tonumber(string.match(of, '^%d+') or 0) end
  local last = redis.call('LINDEX', key, -1)
  if not last or time(last) <= moment then
    if redis.call('RPUSH', key, entry) <= tonumber(ARGV[3]) then return end
  else
    for _, other in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if time(other) > moment then
        redis.call('LINSERT', key, 'BEFORE', other, entry)
        break
      end
    end
  end
  redis.call('LTRIM', key, -ARGV[3], -1)
end

local partition = ARGV[5]
if partition ~= '' then
  local applied = tonumber(redis.call('HGET', KEYS[2], partition) or -1)
  if applied >= tonumber(ARGV[6]) then return 0 end
  if applied < tonumber(ARGV[7]) then return -2 end
end
local events = (#KEYS - 3) / 3
if redis.call('XLEN', KEYS[1]) + events > tonumber(ARGV[1]) then return -1 end
local now = redis.call('EXISTS', KEYS[3]) == 1 and redis.call('TIME')
local function is_forgotten(user)
  local until_ms = now and redis.call('ZSCORE', KEYS[3], user)
  return until_ms and tonumber(until_ms) > now[1] * 1000
end
local taken = 0
for i = 0, events - 1 do
  local row, moment, entry, item = ARGV[5 * i + 8], tonumber(ARGV[5 * i + 9]), ARGV[5 * i + 10], ARGV[5 * i + 11]
  if not is_forgotten(ARGV[5 * i + 12]) and redis.call('SET', KEYS[3 * i + 4], '', 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', KEYS[1], '*', 'event', row)
    if entry ~= '' then push(KEYS[3 * i + 5], moment, entry) end
    if item ~= '' then
      if redis.call('ZADD', KEYS[3 * i + 6], 'GT', moment, item) == 1 then
        redis.call('ZREMRANGEBYRANK', KEYS[3 * i + 6], 0, -ARGV[4] - 1)
      end
    end
    taken = taken + 1
  end
end
if partition ~= '' then redis.call('HSET', KEYS[2], partition, ARGV[6]) end
return taken
"""


class EventStream(Protocol):
    """Takes events for good."""

    async def append(self, accepted: Sequence[Accepted]) -> int:
        """Take events, all or none; how many were new, as far as is known by then.

        Raises:
            UnavailableError: They may have been taken nevertheless, so they should be sent again under the same IDs.
        """

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Record:
    """One of Kafka: the events of a request."""

    offset: int
    accepted: Sequence[Accepted]


class RedisStream:
    """Takes events by one script: new ones go into the stream, and into what is known of their users."""

    def __init__(self, url: str, *, length: int, timeout_seconds: float = 1.0) -> None:
        """Make a pool of connections to `redis://host:port/db`; none is opened yet.

        Args:
            url: Redis.
            length: Events that may wait for the sink; further ones are refused.
            timeout_seconds: Of one call.
        """
        self._url, self._length = url, length
        # Requests wait for one of these; a connection each would drown Redis in handshakes when many come at once.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_WAIT_SECONDS,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._take = self._redis.register_script(_TAKE)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def append(self, accepted: Sequence[Accepted]) -> int:
        """See `EventStream.append`; it also raises where too many events wait for the sink."""
        try:
            taken = int(await self._take(*self._told(accepted)))
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        if taken == _FULL:
            raise FullError(
                f"event stream at {self._url}: {self._length:,} events wait for the sink already; send these later",
                part="event stream",
            )
        return taken

    async def apply(self, partition: str, after: int, records: Sequence[Record]) -> int:
        """Take the events of records that follow the one at `after`, each once however often it comes.

        Returns:
            How many of the records, from the first on, are applied now. Fewer than all: too many events wait for the
            sink, or Redis does not know of the record before them any more, as after the loss of its last second.

        Raises:
            UnavailableError: Redis does not answer. Some may be applied.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for before, record in zip((after, *(one.offset for one in records)), records, strict=False):
            await self._take(*self._told(record.accepted, partition, record.offset, before), client=pipeline)
        try:
            taken = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        return next((place for place, one in enumerate(taken) if one in (_FULL, _OUT_OF_ORDER)), len(taken))

    async def applied(self, partition: str) -> int | None:
        """The last offset of a partition that is applied; None: Redis knows of none.

        Raises:
            UnavailableError: Redis does not answer.
        """
        try:
            found = await self._redis.hget(APPLIED, partition)
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        return None if found is None else int(found)

    def _told(
        self, accepted: Sequence[Accepted], partition: str = "", offset: int = 0, after: int = 0
    ) -> tuple[list[str], list[Any]]:
        """Keys and arguments of the script."""
        keys = [STREAM, APPLIED, FORGOTTEN]
        arguments: list[Any] = [self._length, REMEMBERED_SECONDS, RECENT_LENGTH, SEEN_LENGTH, partition, offset, after]
        for one in accepted:
            item, moment = one.row["item_id"], one.row["timestamp"]
            keys += [f"event:{one.row['event_id']}", recent_key(one.user), seen_key(one.user)]
            entry = f"{moment}:{item}" if one.enters else ""
            arguments += [orjson.dumps(one.row), moment, entry, str(item) if one.positive else "", one.user]
        return keys, arguments

    def _unavailable(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"event stream at {self._url}: {reason(error)}; send the events again", part="event stream"
        )


class FullError(UnavailableError):
    """Too many events wait for the sink."""
