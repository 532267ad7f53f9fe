"""The endpoints that take something, made from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter

from pagoda.append_log.store import open_store
from pagoda.distribution import install
from pagoda.errors import ConfigError
from pagoda.item_changes.log import ItemLog, item_log_url, open_item_log
from pagoda.settings import KafkaSettings, Settings
from serving.background import background
from serving.events.intake import EventIntake
from serving.events.interests import InterestIntake, interests_router
from serving.events.item_changes import ItemIntake, items_router
from serving.events.redis_stream import RedisStream, Room, Taken
from serving.events.routes import events_router
from serving.events.rules import Times
from serving.events.stable_spec import StableSpec
from serving.receipts import open_receipts
from serving.release_follower import ReleaseFollower
from serving.users.interests import InterestStore

if TYPE_CHECKING:
    from serving.events.kafka_stream import KafkaStream
    from serving.events.kafka_topic import TopicFollower


@dataclass(frozen=True)
class Taking:
    """The routers by the listener that they belong to."""

    events: Sequence[APIRouter]
    items: Sequence[APIRouter]


@asynccontextmanager
async def taking(settings: Settings, releases: ReleaseFollower, taken: Taken) -> AsyncIterator[Taking]:
    """The routers, until the block ends.

    Args:
        settings: Of this installation.
        releases: What says which declaration events are checked against; followed by somebody else.
        taken: Told of events that are in the stream.

    Raises:
        ConfigError: Kafka is set, and its client is not installed.
    """
    specs = StableSpec(releases)
    length, room = settings.events.stream_length, Room.of(settings.events)
    redis = RedisStream(settings.redis.url, length=length, room=room, taken=taken)
    kafka = _before(redis, settings.events.kafka) if settings.events.kafka.servers else None
    async with AsyncExitStack() as stack:
        intake = EventIntake(kafka or redis, specs, Times.of(settings.events), open_receipts(settings))
        stack.push_async_callback(intake.close)
        interests = InterestStore(settings.redis.url)
        stack.push_async_callback(interests.close)
        if kafka:
            await stack.enter_async_context(background(kafka.follow))
        item_log = open_item_log(settings)
        if settings.items.kafka.servers:
            records = _item_records(settings, item_log, specs)
            await stack.enter_async_context(background(records.follow))
        users = interests_router(InterestIntake(interests, specs))
        yield Taking([events_router(intake), users], [items_router(ItemIntake(item_log, specs))])


def _before(redis: RedisStream, settings: KafkaSettings) -> KafkaStream:
    with _needed_by("events.kafka"):
        from serving.events.kafka_stream import KafkaStream
    return KafkaStream(settings, redis)


def _item_records(settings: Settings, log: ItemLog, specs: StableSpec) -> TopicFollower:
    with _needed_by("items.kafka"):
        from serving.events.kafka_items import FETCH_BYTES, KafkaItems
        from serving.events.kafka_topic import TopicFollower
    kafka, refused = settings.items.kafka, open_store(f"{item_log_url(settings)}/refused")
    return TopicFollower(kafka, kafka.group, KafkaItems(log, specs, refused), fetch_bytes=FETCH_BYTES)


@contextmanager
def _needed_by(section: str) -> Iterator[None]:
    """Say which section of the settings is in want of Kafka's client."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"{section} is set, but {error.name} is missing: {install('kafka')}") from error
