"""The endpoints that take something, made from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter

from pagoda.registry.items import open_item_log
from pagoda.registry.log import open_log
from pagoda.settings import Settings
from serving.events.intake import Clicked, EventIntake
from serving.events.items import items_router
from serving.events.routes import events_router
from serving.events.specs import StableSpec


@asynccontextmanager
async def taking(settings: Settings, clicked: Clicked) -> AsyncIterator[Sequence[APIRouter]]:
    """The routers, until the block ends; `clicked` is told of positive events."""
    specs = StableSpec(open_log(settings))
    length = settings.events.stream_length
    intake = EventIntake(settings.redis.url, specs, stream_length=length, clicked=clicked)
    try:
        yield [events_router(intake), items_router(open_item_log(settings), specs)]
    finally:
        await intake.close()
