"""Events by way of Kafka: it keeps them, replicated and for days, while Redis or the sink is behind or down.

A request's events are one record, so they are taken together or not at all. Recall processes share the partitions and
apply the records to the stream in Redis, by the script that would have taken them there: an event that was sent twice
counts once. Redis remembers the offset in that same stroke, and what it says holds, not what Kafka's group has
committed: where Redis has lost its last second, what it lost is applied again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from pagoda.errors import UnavailableError
from pagoda.settings import KafkaSettings
from serving.events.kafka_topic import Record, TopicFollower, connection, partition_name
from serving.events.redis_stream import APPLIED, KafkaRecord, RedisStream
from serving.events.rules import Accepted
from serving.http.body_reading import TooLargeError

GROUP = "pagoda"
_APPEND_SECONDS = 5.0
_NOW_SECONDS = 0.25
"""How long a 200 waits for Redis after Kafka has the events."""
_ROW = {"event_id", "user_id", "item_id", "event", "timestamp"}
logger = logging.getLogger(__name__)


class KafkaStream:
    """Takes events into a topic, and applies what is in it: a `RecordTarget`."""

    what = "events"
    behind = "too many wait for the sink, or Redis has lost some"
    remedy = f"`redis-cli HDEL {APPLIED} {{partition}}` has what it holds applied"

    def __init__(self, settings: KafkaSettings, redis: RedisStream) -> None:
        """Connect to nothing yet.

        Args:
            settings: Where Kafka is.
            redis: What records are applied to; closed with this.
        """
        self._settings, self._redis = settings, redis
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._applying: set[asyncio.Task[None]] = set()

    async def append(self, accepted: Sequence[Accepted]) -> int:
        """See `EventStream.append`. All count as new: which are not is found when they are applied.

        Raises:
            TooLargeError: They do not fit one record.
            UnfiledError: Nobody would file them, and Kafka does not keep them for ever.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOW_SECONDS):
                await self._redis.refuse_unfiled()
        key, value = str(accepted[0].user).encode(), orjson.dumps([one.record() for one in accepted])
        try:
            async with asyncio.timeout(_APPEND_SECONDS):
                producer = await self._started()
                sent = await producer.send_and_wait(self._settings.topic, value, key=key)
        except MessageSizeTooLargeError as error:
            raise TooLargeError("events: together too large for one record of Kafka; send fewer at once") from error
        except (KafkaError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(
                f"Kafka at {self._settings.servers}: {reason}; send the events again", part="event stream"
            ) from error
        await self._apply_now(TopicPartition(sent.topic, sent.partition), KafkaRecord(sent.offset, accepted))
        return len(accepted)

    async def _apply_now(self, place: TopicPartition, record: KafkaRecord) -> None:
        """Apply a record that has just been taken, if all before it are: then the user's next answer knows of it."""
        task = asyncio.create_task(self._apply_one(place, record))
        self._applying.add(task)
        task.add_done_callback(self._applying.discard)
        # It goes on when nobody waits any more: what Redis takes then is new to nobody else, so gates would miss it.
        await asyncio.wait([task], timeout=_NOW_SECONDS)

    async def _apply_one(self, place: TopicPartition, record: KafkaRecord) -> None:
        with suppress(UnavailableError):  # Whoever follows the partition will do it.
            await self._redis.apply(partition_name(place), record.offset - 1, [record])

    async def close(self) -> None:
        """Close the connections."""
        if self._producer is not None:
            await self._producer.stop()
        await asyncio.gather(*self._applying, return_exceptions=True)
        await self._redis.close()

    async def follow(self) -> None:
        """Apply what is in the topic and what comes, until cancelled. Trouble is logged, and passes."""
        await TopicFollower(self._settings, GROUP, self).follow()

    async def applied(self, partition: str) -> int | None:
        """See `RecordTarget.applied`."""
        return await self._redis.applied(partition)

    async def apply(self, partition: str, after: int, records: Sequence[Record]) -> int:
        """See `RecordTarget.apply`."""
        return await self._redis.apply(partition, after, [_read(one) for one in records])

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **connection(self._settings),
                    acks="all",
                    compression_type="gzip",
                    request_timeout_ms=int(_APPEND_SECONDS * 1000),
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
        return self._producer


def _read(record: Record) -> KafkaRecord:
    try:
        accepted = [Accepted(**one) for one in orjson.loads(record.value or b"")]
        if any(_ROW - one.row.keys() for one in accepted):
            raise ValueError("an event lacks fields")
        return KafkaRecord(record.offset, accepted)
    except (ValueError, TypeError, AttributeError) as error:
        place = record.topic, record.partition, record.offset
        logger.error("Kafka %s/%d at %d: no events, left out (%s)", *place, type(error).__name__)
        return KafkaRecord(record.offset, [])
