"""Taking events: one script of Redis appends them to the stream and to what is known of their users, all or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from serving.events.body import Event, Receipt
from serving.events.metrics import EVENTS, SECONDS
from serving.events.rules import Accepted, EventRules
from serving.recall.store import RECENT_LENGTH, SEEN_LENGTH, Key, recent_key, seen_key

STREAM = "events"
FIELD = b"event"
"""The one field of a stream entry: the row as JSON."""
REMEMBERED_SECONDS = 3600
"""How long an event ID is remembered, so that a retry is known as one; about 90 bytes of Redis each."""
_CONNECTIONS = 16
_WAIT_SECONDS = 5.0
"""For one of them. Many clients at once on a busy machine are no failure of Redis."""

# KEYS: the stream; for each event its mark, the user's recent behaviour, the user's seen items.
# ARGV: longest stream, seconds of a mark, recent length, seen length; for each event the row, its moment, the entry of
# recent behaviour and the seen item, the last two empty where the event is none.
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

local events = (#KEYS - 1) / 3
if redis.call('XLEN', KEYS[1]) + events > tonumber(ARGV[1]) then return -1 end
local taken = 0
for i = 0, events - 1 do
  local row, moment, entry, item = ARGV[4 * i + 5], tonumber(ARGV[4 * i + 6]), ARGV[4 * i + 7], ARGV[4 * i + 8]
  if redis.call('SET', KEYS[3 * i + 2], '', 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', KEYS[1], '*', 'event', row)
    if entry ~= '' then push(KEYS[3 * i + 3], moment, entry) end
    if item ~= '' then
      if redis.call('ZADD', KEYS[3 * i + 4], 'GT', moment, item) == 1 then
        redis.call('ZREMRANGEBYRANK', KEYS[3 * i + 4], 0, -ARGV[4] - 1)
      end
    end
    taken = taken + 1
  end
end
return taken
"""


Clicked = Callable[[Sequence[Key]], None]
"""Told, after the append, whose positive events came in."""


class SpecSource(Protocol):
    """Says what events of this installation look like."""

    async def spec(self) -> FeatureSpec:
        """The feature declaration in force.

        Raises:
            UnavailableError: There is none yet.
        """


class EventIntake:
    """Takes events. Safe to share between requests."""

    def __init__(
        self,
        url: str,
        specs: SpecSource,
        *,
        stream_length: int,
        timeout_seconds: float = 1.0,
        clicked: Clicked = lambda _: None,
    ) -> None:
        """Make a pool of connections to `redis://host:port/db`; none is opened yet.

        Args:
            url: Redis.
            specs: What events are checked against.
            stream_length: Events that may wait for the sink; further ones are refused.
            timeout_seconds: Of one call.
            clicked: Told of positive events.
        """
        self._url, self._specs, self._length, self._clicked = url, specs, stream_length, clicked
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
        self._rules: EventRules | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def take(self, events: Sequence[Event]) -> Receipt:
        """Append events to the stream and to their users' recent behaviour; all of them or none.

        When it returns, they survive any crash of a process; what a power loss costs is in docs/events.md.

        Raises:
            RequestError: One cannot be taken; the message names the field.
            UnavailableError: The stream is full, or Redis does not answer: then it may have taken them, so they should
                be sent again under the same IDs.
        """
        rules = await self._current_rules()
        now_us = time.time_ns() // 1000
        accepted = [
            rules.accept(event, f"events.{place}." if len(events) > 1 else "", now_us)
            for place, event in enumerate(events)
        ]
        with SECONDS.time():
            taken = await self._append(accepted)
        self._clicked([one.user for one in accepted if one.positive])
        EVENTS.labels("taken").inc(taken)
        EVENTS.labels("duplicate").inc(len(events) - taken)
        ids = [one.row["event_id"] for one in accepted]
        return {"event_ids": ids, "taken": taken, "duplicates": len(events) - taken}

    async def _append(self, accepted: Sequence[Accepted]) -> int:
        keys: list[str] = [STREAM]
        arguments: list[str | bytes | int] = [self._length, REMEMBERED_SECONDS, RECENT_LENGTH, SEEN_LENGTH]
        for one in accepted:
            item, moment = one.row["item_id"], one.row["timestamp"]
            keys += [f"event:{one.row['event_id']}", recent_key(one.user), seen_key(one.user)]
            entry = f"{moment}:{item}" if one.enters else ""
            arguments += [orjson.dumps(one.row), moment, entry, str(item) if one.positive else ""]
        try:
            taken = int(await self._take(keys, arguments))
        except (RedisError, OSError) as error:
            EVENTS.labels("unavailable").inc(len(accepted))
            raise UnavailableError(f"event stream at {self._url}: {error}; send the events again") from error
        if taken < 0:
            EVENTS.labels("shed").inc(len(accepted))
            raise UnavailableError(
                f"event stream at {self._url}: {self._length:,} events wait for the sink already; send these later"
            )
        return taken

    async def _current_rules(self) -> EventRules:
        spec = await self._specs.spec()
        if self._rules is None or self._rules.spec is not spec:
            self._rules = EventRules(spec)
        return self._rules
