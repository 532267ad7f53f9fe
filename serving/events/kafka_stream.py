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
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.helpers import create_ssl_context

from pagoda.errors import PagodaError, UnavailableError
from pagoda.settings import KafkaSettings
from serving.error_reasons import reason
from serving.events.redis_stream import APPLIED, KafkaRecord, RedisStream
from serving.events.rules import Accepted
from serving.http.body_reading import TooLargeError

GROUP = "pagoda"
_RECORDS = 500
"""Applied in one round trip."""
_APPEND_SECONDS = 5.0
_NOW_SECONDS = 0.25
"""How long a 200 waits for Redis after Kafka has the events."""
_PAUSE_SECONDS = 0.5
"""After something went wrong, or while too many events wait for the sink."""
_ROW = {"event_id", "user_id", "item_id", "event", "timestamp"}
logger = logging.getLogger(__name__)


class KafkaStream(ConsumerRebalanceListener):  # type: ignore[misc]
    """Takes events into a topic, and applies what is in it."""

    def __init__(self, settings: KafkaSettings, redis: RedisStream) -> None:
        """Connect to nothing yet.

        Args:
            settings: Where Kafka is.
            redis: What records are applied to; closed with this.
        """
        self._settings, self._redis = settings, redis
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._last: dict[TopicPartition, int] = {}
        """By partition the last offset that is applied, as far as this process has seen to it."""
        self._complaint = ""

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
        with suppress(UnavailableError, TimeoutError):  # Whoever follows the partition will do it.
            async with asyncio.timeout(_NOW_SECONDS):
                await self._redis.apply(_name(place), record.offset - 1, [record])

    async def close(self) -> None:
        """Close the connections."""
        if self._producer is not None:
            await self._producer.stop()
        await self._redis.close()

    async def follow(self) -> None:
        """Apply what is in the topic and what comes, until cancelled. Trouble is logged, and passes."""
        while True:
            consumer = self._consumer()
            try:
                await consumer.start()
                while True:
                    await self._step(consumer)
            except (KafkaError, PagodaError, OSError) as error:
                self._complain(f"events wait in Kafka: {reason(error)}")
            finally:
                await consumer.stop()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _step(self, consumer: AIOKafkaConsumer) -> None:
        found = await consumer.getmany(timeout_ms=500, max_records=_RECORDS)
        for place, records in found.items():
            if place not in self._last:
                await self._rewind(consumer, place)
                continue
            applied = await self._redis.apply(_name(place), self._last[place], [_read(one) for one in records])
            if applied:
                self._last[place] = records[applied - 1].offset
                await consumer.commit({place: records[applied - 1].offset + 1})
            if applied < len(records):
                self._complain("events wait in Kafka: too many wait for the sink, or Redis has lost some")
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._rewind(consumer, place)
            else:
                self._complaint = ""

    async def _rewind(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        """Go on behind the last record that Redis has applied; where it knows of none, where the group was."""
        applied = await self._redis.applied(_name(place))
        end = (await consumer.end_offsets([place]))[place]
        if applied is not None and applied >= end:
            # What comes next would have the offsets of records that were applied, and be taken for them.
            raise UnavailableError(
                f"{_name(place)} ends at {end}, but its record {applied} was applied: the topic was made anew, or has "
                f"lost records; `redis-cli HDEL {APPLIED} {_name(place)}` has what it holds applied"
            )
        self._last[place] = -1 if applied is None else applied
        if applied is not None:
            consumer.seek(place, applied + 1)
            await consumer.commit({place: applied + 1})
        elif committed := await consumer.committed(place):
            consumer.seek(place, committed)
        else:
            await consumer.seek_to_beginning(place)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._connection(),
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

    def _consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._connection(), group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        consumer.subscribe([self._settings.topic], listener=self)
        return consumer

    def on_partitions_revoked(self, *_: object) -> None:
        """Others may apply them from now on; when they come back, Redis says how far they are."""
        self._last.clear()

    def on_partitions_assigned(self, *_: object) -> None:
        """Nothing yet: the first records of a partition do it."""

    def _connection(self) -> dict[str, Any]:
        known = self._settings
        found: dict[str, Any] = {"bootstrap_servers": known.servers, "client_id": "pagoda"}
        if known.tls:
            found["ssl_context"] = create_ssl_context()
        if known.username:
            found |= {"sasl_plain_username": known.username, "sasl_plain_password": known.password}
            found["sasl_mechanism"] = known.mechanism
        found["security_protocol"] = f"{'SASL_' if known.username else ''}{'SSL' if known.tls else 'PLAINTEXT'}"
        return found

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.warning("%s", complaint)
        self._complaint = complaint


def _name(place: TopicPartition) -> str:
    """What Redis calls a partition."""
    return f"{place.topic}/{place.partition}"


def _read(record: ConsumerRecord[bytes, bytes]) -> KafkaRecord:
    try:
        accepted = [Accepted(**one) for one in orjson.loads(record.value or b"")]
        if any(_ROW - one.row.keys() for one in accepted):
            raise ValueError("an event lacks fields")
        return KafkaRecord(record.offset, accepted)
    except (ValueError, TypeError, AttributeError) as error:
        place = record.topic, record.partition, record.offset
        logger.error("Kafka %s/%d at %d: no events, left out (%s)", *place, type(error).__name__)
        return KafkaRecord(record.offset, [])
