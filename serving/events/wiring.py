"""The endpoints that take something, made from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter

from pagoda.registry.items import open_item_log
from pagoda.registry.log import open_log
from pagoda.settings import Settings
from serving.events.intake import EventIntake
from serving.events.items import items_router
from serving.events.routes import events_router
from serving.events.specs import StableSpec


@asynccontextmanager
async def taking(settings: Settings) -> AsyncIterator[Sequence[APIRouter]]:
    """The routers, until the block ends."""
    specs = StableSpec(open_log(settings))
    intake = EventIntake(settings.redis.url, specs, stream_length=settings.events.stream_length)
    try:
        yield [events_router(intake), items_router(open_item_log(settings), specs)]
    finally:
        await intake.close()
