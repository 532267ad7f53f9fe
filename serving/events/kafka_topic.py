"""A topic of Kafka that is applied to something: each record once, in the order of its partition.

What the records are applied to remembers the offset in the same stroke, and what it says holds, not what Kafka's group
has committed: so whoever is killed, or takes over, goes on where the last one came to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from pagoda.errors import PagodaError, UnavailableError
from pagoda.settings import KafkaSettings
from serving.error_reasons import reason

Record: TypeAlias = ConsumerRecord[bytes, bytes]
_RECORDS = 500
"""Applied together."""
_PAUSE_SECONDS = 0.5
"""After something went wrong, or while what the records are applied to has no room."""
logger = logging.getLogger(__name__)


class RecordTarget(Protocol):
    """What the records of a topic are applied to."""

    what: str
    """What waits in Kafka while this takes nothing, for messages."""
    behind: str
    """Why `apply` leaves some for later, for messages."""
    remedy: str
    """What has a topic applied that was made anew, for messages; `{partition}` stands for its partition."""

    async def applied(self, partition: str) -> int | None:
        """The last offset of a partition that is applied; None: none is.

        Raises:
            UnavailableError: It does not answer.
        """

    async def apply(self, partition: str, after: int, records: Sequence[Record]) -> int:
        """Apply records that follow the one at `after`, and remember the last one's offset in the same stroke.

        Returns:
            How many of them, from the first on, are applied now.

        Raises:
            UnavailableError: It does not answer. Some may be applied.
        """


class TopicFollower(ConsumerRebalanceListener):  # type: ignore[misc]
    """Shares the partitions of a topic with other processes, and applies what is in its own."""

    def __init__(self, settings: KafkaSettings, group: str, target: RecordTarget, *, fetch_bytes: int = 1) -> None:
        """Connect to nothing yet.

        Args:
            settings: Where Kafka is.
            group: Of the consumers that share the topic.
            target: What records are applied to.
            fetch_bytes: What a broker waits for, half a second at most, before it gives records.
        """
        self._settings, self._group, self._target = settings, group, target
        self._fetch_bytes = fetch_bytes
        self._last: dict[TopicPartition, int] = {}
        """By partition the last offset that is applied, as far as this process has seen to it."""
        self._complaint = ""

    async def follow(self) -> NoReturn:
        """Apply what is in the topic and what comes, until cancelled. Trouble is logged, and passes."""
        while True:
            consumer = self._consumer()
            try:
                await consumer.start()
                while True:
                    await self._step(consumer)
            except (KafkaError, PagodaError, OSError) as error:
                self._complain(reason(error))
            finally:
                await consumer.stop()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _step(self, consumer: AIOKafkaConsumer) -> None:
        found = await consumer.getmany(timeout_ms=500, max_records=_RECORDS)
        for place, records in found.items():
            if place not in self._last:
                await self._rewind(consumer, place)
                continue
            applied = await self._target.apply(partition_name(place), self._last[place], records)
            if applied and place in self._last:  # Else the group has taken it away meanwhile.
                self._last[place] = records[applied - 1].offset
                await consumer.commit({place: records[applied - 1].offset + 1})
            if applied < len(records):
                self._complain(self._target.behind)
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._rewind(consumer, place)
            else:
                self._complaint = ""

    async def _rewind(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        """Go on behind the last record that is applied; where none is known, where the group was."""
        applied = await self._target.applied(partition_name(place))
        end = (await consumer.end_offsets([place]))[place]
        if applied is not None and applied >= end:
            # What comes next would have the offsets of records that were applied, and be taken for them.
            raise UnavailableError(
                f"{partition_name(place)} ends at {end}, but its record {applied} was applied: the topic was made "
                f"anew, or has lost records; {self._target.remedy.format(partition=partition_name(place))}"
            )
        self._last[place] = -1 if applied is None else applied
        if applied is not None:
            consumer.seek(place, applied + 1)
            await consumer.commit({place: applied + 1})
        elif committed := await consumer.committed(place):
            consumer.seek(place, committed)
        else:
            await consumer.seek_to_beginning(place)

    def _consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=self._fetch_bytes,
            isolation_level="read_committed",  # What a producer's transaction has aborted was never said.
        )
        consumer.subscribe([self._settings.topic], listener=self)
        return consumer

    def on_partitions_revoked(self, *_: object) -> None:
        """Others may apply them from now on; when they come back, the target says how far they are."""
        self._last.clear()

    def on_partitions_assigned(self, *_: object) -> None:
        """Nothing yet: the first records of a partition do it."""

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            logger.warning("%s wait in Kafka: %s", self._target.what, why)
        self._complaint = why


def partition_name(place: TopicPartition) -> str:
    """What targets call a partition."""
    return f"{place.topic}/{place.partition}"


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How clients of Kafka connect."""
    found: dict[str, Any] = {"bootstrap_servers": settings.servers, "client_id": "pagoda"}
    if settings.tls:
        found["ssl_context"] = create_ssl_context()
    if settings.username:
        found |= {"sasl_plain_username": settings.username, "sasl_plain_password": settings.password}
        found["sasl_mechanism"] = settings.mechanism
    found["security_protocol"] = f"{'SASL_' if settings.username else ''}{'SSL' if settings.tls else 'PLAINTEXT'}"
    return found
