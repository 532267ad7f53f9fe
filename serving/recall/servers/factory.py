"""The user tower's backend, as the settings name it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pagoda.settings import Settings
from serving.background import background
from serving.recall.servers.ports import TowerBackend
from serving.recall.servers.tower import TowerClient


@asynccontextmanager
async def open_tower(settings: Settings) -> AsyncIterator[TowerBackend]:
    """What the recall service asks for users' vectors, until the block ends; nothing is asked yet."""
    if settings.tower.runtime == "in_process":
        # Here, since it brings torch, which a service that asks a server does not even have.
        from serving.recall.servers.in_process_tower import InProcessTower, get_process_ready

        get_process_ready()
        tower = InProcessTower(settings.towers_folder, settings.tables_folder)
        async with background(tower.follow):
            yield tower
        return
    client = TowerClient(settings.tower.url, settings.tower.timeout_seconds)
    try:
        yield client
    finally:
        await client.close()
