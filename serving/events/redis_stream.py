"""The event stream: accepted events on their way to the sink and into their users' recent behaviour.

In Redis, one script does both, all or none. With Kafka before it (`serving.events.kafka_stream`), the same script
applies its records, and remembers in the same stroke how far it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from pagoda.errors import UnavailableError
from pagoda.settings import EventSettings
from serving.error_reasons import reason
from serving.events.rules import Accepted
from serving.http.overload import ShedError
from serving.users.append_only_file import UNWRITTEN_IN, AppendOnlyFile
from serving.users.keys import NEWCOMERS, RECENT_LENGTH, SEEN_LENGTH, STREAM, UNFILED, profile_key, recent_key, seen_key
from serving.users.tombstones import FORGOTTEN

APPLIED = "events:applied"
"""By partition of Kafka the last offset that is in the stream."""
REMEMBERED_SECONDS = 3600
"""How long an event ID is remembered, so that a retry is known as one; about 90 bytes of Redis each."""
_CONNECTIONS = 16
_WAIT_SECONDS = 5.0
"""For one of them. Many clients at once on a busy machine are no failure of Redis."""
_FULL, _OUT_OF_ORDER, _CROWDED = -1, -2, -3
_LOOK_SECONDS = 0.5
"""Between looks at how much memory Redis uses."""
_DAY_SECONDS = 86_400
_FEW = 20
"""Events, 1 ms of Redis. Scripts of more go one after the other, so that who reads waits for one of them at most."""
_OUT_OF_MEMORY = "OOM command not allowed"

# KEYS: the stream, the applied offsets, the newcomers, the forgotten users; for each event its mark, the user's recent
# behaviour, seen items and profile.
# ARGV: longest stream, seconds of a mark, recent length, seen length; the record's partition, its offset and that of
# the record before it, all empty where there is no Kafka; most newcomers, and how many seconds one is remembered; for
# each event the row, its moment, the entry of recent behaviour and the seen item, the last two empty where the event is
# none, and the user.
# Answers how many were new, or why none were taken, and the run of Redis that has yet to write them.
# The first thing that the script writes is one that a full Redis refuses: then nothing of it is done.
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
  if applied >= tonumber(ARGV[6]) then return {0, ''} end
  if applied < tonumber(ARGV[7]) then return {-2, ''} end
end
local events = (#KEYS - 4) / 4
if redis.call('XLEN', KEYS[1]) + events > tonumber(ARGV[1]) then return {-1, ''} end

local now = tonumber(redis.call('TIME')[1])
local forgets = redis.call('EXISTS', KEYS[4]) == 1
local function is_forgotten(user)
  local until_ms = forgets and redis.call('ZSCORE', KEYS[4], user)
  return until_ms and tonumber(until_ms) > now * 1000
end
local room = tonumber(ARGV[8]) - redis.call('ZCOUNT', KEYS[3], now, '+inf')
local fresh = {}
for i = 0, events - 1 do
  local user, keeps = ARGV[5 * i + 14], ARGV[5 * i + 12] ~= '' or ARGV[5 * i + 13] ~= ''
  if keeps and fresh[user] == nil and not is_forgotten(user) then
    fresh[user] = redis.call('EXISTS', KEYS[4 * i + 6], KEYS[4 * i + 7], KEYS[4 * i + 8]) == 0
    if fresh[user] then room = room - 1 end
  end
end
local crowded = room < 0
if crowded and partition == '' then return {-3, ''} end

local taken = 0
for i = 0, events - 1 do
  local row, moment, entry, item = ARGV[5 * i + 10], tonumber(ARGV[5 * i + 11]), ARGV[5 * i + 12], ARGV[5 * i + 13]
  local user, recent, seen = ARGV[5 * i + 14], KEYS[4 * i + 6], KEYS[4 * i + 7]
  if not is_forgotten(user) and redis.call('SET', KEYS[4 * i + 5], '', 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', KEYS[1], '*', 'event', row)
    if (entry ~= '' or item ~= '') and not (crowded and fresh[user]) then
      if entry ~= '' then push(recent, moment, entry) end
      if item ~= '' then
        if redis.call('ZADD', seen, 'GT', moment, item) == 1 then
          redis.call('ZREMRANGEBYRANK', seen, 0, -ARGV[4] - 1)
        end
      end
      if fresh[user] or redis.call('ZSCORE', KEYS[3], user) then
        redis.call('ZADD', KEYS[3], now + ARGV[9], user)
        redis.call('EXPIRE', recent, ARGV[9])
        redis.call('EXPIRE', seen, ARGV[9])
      end
    end
    taken = taken + 1
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. now)
if partition ~= '' then redis.call('HSET', KEYS[2], partition, ARGV[6]) end
return {taken, unwritten_in()}
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
class KafkaRecord:
    """One of Kafka: the events of a request."""

    offset: int
    accepted: Sequence[Accepted]


@dataclass(frozen=True, slots=True)
class Room:
    """What events may take of Redis, beside the stream itself."""

    newcomers: int = 500_000
    """Users at once of whom nothing but their events is known."""
    newcomer_seconds: int = 7 * _DAY_SECONDS
    memory_share: float = 0.8
    """Of Redis' `maxmemory`."""

    @classmethod
    def of(cls, settings: EventSettings) -> Room:
        """As an installation has it."""
        return cls(settings.newcomers, settings.newcomer_days * _DAY_SECONDS, settings.memory_share)


USUAL_ROOM = Room()


class RedisStream:
    """Takes events by one script: new ones go into the stream, and into what is known of their users."""

    def __init__(self, url: str, *, length: int, room: Room = USUAL_ROOM, timeout_seconds: float = 1.0) -> None:
        """Make a pool of connections to `redis://host:port/db`; none is opened yet.

        Args:
            url: Redis.
            length: Events that may wait for the sink; further ones are refused.
            room: What events may take of Redis beside that.
            timeout_seconds: Of one call.
        """
        self._url, self._length, self._room = url, length, room
        self._short, self._unfiled, self._next_look = False, False, 0.0
        self._many = asyncio.Lock()
        # Requests wait for one of these; a connection each would drown Redis in handshakes when many come at once.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_WAIT_SECONDS,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._take = self._redis.register_script(UNWRITTEN_IN + _TAKE)
        self._file = AppendOnlyFile(self._redis)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def append(self, accepted: Sequence[Accepted]) -> int:
        """See `EventStream.append`; it also raises where too many events wait for the sink.

        It returns when a kill of Redis loses them no more, nor that they were taken.
        """
        try:
            await self._look()
            self._refuse_unfiled()
            self._refuse_where_short()
            async with self._many if len(accepted) > _FEW else nullcontext():
                taken, unwritten = await self._take(*self._told(accepted))
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        if taken == _FULL:
            raise FullError(f"event stream: {self._length:,} events wait for the sink already; send these later")
        if taken == _CROWDED:
            raise FullError(
                f"event stream: {self._room.newcomers:,} users whom nobody loaded are remembered already "
                f"(events.newcomers); send events of further ones later"
            )
        if unwritten:
            await self._written(unwritten)
        return int(taken)

    async def _written(self, run: bytes) -> None:
        try:
            await self._file.written(run)
        except (UnavailableError, RedisError, OSError) as error:
            raise self._unavailable(error) from error

    async def refuse_unfiled(self) -> None:
        """Refuse where nobody would file events; as far as Redis answers.

        Raises:
            UnfiledError: The sink says that it has no dataset.
        """
        with suppress(RedisError, OSError):
            await self._look()
        self._refuse_unfiled()

    async def _look(self) -> None:
        """See now and then how Redis and the sink are."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.info("memory")
            pipeline.exists(UNFILED)
            found, unfiled = await pipeline.execute()
            most = int(found.get("maxmemory", 0))
            self._short = bool(most) and int(found["used_memory"]) > self._room.memory_share * most
            self._unfiled = bool(unfiled)

    def _refuse_unfiled(self) -> None:
        if self._unfiled:
            raise UnfiledError(
                "event stream: there is no dataset to file events in, so nobody would learn them (events.dataset); "
                "`pagoda status` says more. Send these later"
            )

    def _refuse_where_short(self) -> None:
        """Events are the first to go where memory gets short: profiles, outcomes and the sink need what is left.

        Raises:
            FullError: It is short.
        """
        if self._short:
            raise FullError("event stream: Redis is nearly full (events.memory_share); send these later")

    async def apply(self, partition: str, after: int, records: Sequence[KafkaRecord]) -> int:
        """Take the events of records that follow the one at `after`, each once however often it comes.

        Returns:
            How many of the records, from the first on, are applied now. Fewer than all: too many events wait for the
            sink, or Redis does not know of the record before them any more, as after the loss of its last second.

        Raises:
            UnavailableError: Redis does not answer. Some may be applied.
        """
        try:
            await self._look()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        self._refuse_where_short()
        pipeline = self._redis.pipeline(transaction=False)
        for before, record in zip((after, *(one.offset for one in records)), records, strict=False):
            await self._take(*self._told(record.accepted, partition, record.offset, before), client=pipeline)
        try:
            taken = [code for code, _ in await pipeline.execute()]
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
        keys = [STREAM, APPLIED, NEWCOMERS, FORGOTTEN]
        arguments: list[Any] = [self._length, REMEMBERED_SECONDS, RECENT_LENGTH, SEEN_LENGTH, partition, offset, after]
        arguments += [self._room.newcomers, self._room.newcomer_seconds]
        for one in accepted:
            item, moment = one.row["item_id"], one.row["timestamp"]
            keys += [f"event:{one.row['event_id']}", recent_key(one.user), seen_key(one.user), profile_key(one.user)]
            entry = f"{moment}:{item}" if one.enters else ""
            arguments += [orjson.dumps(one.row), moment, entry, str(item) if one.positive else "", one.user]
        return keys, arguments

    def _unavailable(self, error: Exception) -> UnavailableError:
        if _OUT_OF_MEMORY in str(error):  # Within a script it is no error of its own before Redis 7.
            return FullError("event stream: Redis is full; send these later")
        text = f"event stream at {self._url}: {reason(error)}; send the events again"
        return UnavailableError(text, part="event stream")


class FullError(ShedError):
    """There is no room for more events just now."""


class UnfiledError(ShedError):
    """Nobody would file the events."""
