"""The event stream: accepted events on their way to the sink and into their users' recent behaviour.

In Redis, one script does both, all or none. With Kafka before it (`serving.events.kafka_stream`), the same script
applies its records, and remembers in the same stroke how far it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from pagoda.data.spec import IMPRESSION
from pagoda.errors import UnavailableError
from pagoda.rollout.measures.outcomes import TakenEvent
from pagoda.settings import EventSettings
from serving.error_reasons import reason
from serving.events.rules import Accepted
from serving.events.taking_script import TAKE
from serving.http.overload import ShedError
from serving.users.append_only_file import AppendOnlyFile
from serving.users.keys import (
    EXPLORED,
    NEWCOMERS,
    RECENT_LENGTH,
    SEEN_LENGTH,
    STREAM,
    UNFILED,
    profile_key,
    recent_key,
    seen_key,
)
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


Taken = Callable[[Sequence[TakenEvent]], None]
"""Told what events came in, each once however often it is sent; it neither waits nor fails."""


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

    def __init__(
        self,
        url: str,
        *,
        length: int,
        room: Room = USUAL_ROOM,
        taken: Taken = lambda _: None,
        timeout_seconds: float = 1.0,
    ) -> None:
        """Make a pool of connections to `redis://host:port/db`; none is opened yet.

        Args:
            url: Redis.
            length: Events that may wait for the sink; further ones are refused.
            room: What events may take of Redis beside that.
            taken: Told of those that were new, as soon as they are in the stream.
            timeout_seconds: Of one call.
        """
        self._url, self._length, self._room, self._taken = url, length, room, taken
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
        self._take = self._redis.register_script(TAKE)
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
                taken, unwritten, new = await self._take(*self._told(accepted))
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        if taken == _FULL:
            raise FullError(f"event stream: {self._length:,} events wait for the sink already; send these later")
        if taken == _CROWDED:
            raise FullError(
                f"event stream: {self._room.newcomers:,} users whom nobody loaded are remembered already "
                f"(events.newcomers); send events of further ones later"
            )
        # Not after the wait for the file: who sends them again, since that failed, finds that they are in the stream.
        self._tell(accepted, new)
        if unwritten:
            await self._written(unwritten)
        return int(taken)

    def _tell(self, accepted: Sequence[Accepted], new: bytes) -> None:
        self._taken([one for one, mark in zip(accepted, new.decode(), strict=False) if mark == "1"])

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
            results = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        taken: list[int] = []
        for record, result in zip(records, results, strict=True):
            if isinstance(result, RedisError):  # Those before it are applied, and never new again; none behind it is.
                raise self._unavailable(result) from result
            code, _, new = result
            self._tell(record.accepted, new)
            taken.append(code)
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
        keys = [STREAM, APPLIED, NEWCOMERS, FORGOTTEN, EXPLORED]
        arguments: list[Any] = [self._length, REMEMBERED_SECONDS, RECENT_LENGTH, SEEN_LENGTH, partition, offset, after]
        arguments += [self._room.newcomers, self._room.newcomer_seconds]
        for one in accepted:
            item, moment = one.row["item_id"], one.row["timestamp"]
            keys += [f"event:{one.row['event_id']}", recent_key(one.user), seen_key(one.user), profile_key(one.user)]
            arguments += [orjson.dumps(one.row), moment, one.recent, str(item) if one.positive else "", one.user]
            arguments.append(str(item) if one.row["event"] == IMPRESSION else "")
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
