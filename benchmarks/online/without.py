"""Pagoda's recall service with one stage removed: `python -m benchmarks.online.without store|tower|index PORT`.

What is removed answers at once, as the real part would, always the same. All else is the service as it is.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import uvloop

from benchmarks.online.world import DIM, HISTORY, NOW_US
from pagoda.settings import load_settings
from serving.events.factory import taking
from serving.http.fields import PastItems
from serving.recall import factory, server
from serving.recall.api import RecalledItem
from serving.recall.servers import factory as tower_factory
from serving.recall.servers.tower import TowerClient, UserVectors
from serving.users.keys import Key
from serving.users.online_store import OnlineStore, StoredUser

_USER = StoredUser(
    {"age": 30.0, "country": "DE"},
    PastItems(tuple(range(HISTORY)), (NOW_US - 1000,) * HISTORY),
    (),
)
_UNIT = (np.ones(DIM) / DIM**0.5).tolist()


class NoStore(OnlineStore):
    """Everybody is the same user."""

    async def read(self, users: Sequence[tuple[Key, bool]], *_: object) -> list[StoredUser]:
        return [_USER] * len(users)


class NoTower(TowerClient):
    """Everybody has the same vector."""

    async def vectors(self, *given: Any) -> list[UserVectors]:
        return [UserVectors((_UNIT,), True)] * len(given[-1])


class NoIndex:
    """Everybody gets the same items."""

    match = None

    async def search(self, _: str, vectors: Sequence[Any], k: int, **__: Any) -> list[list[RecalledItem]]:
        return [[{"item_id": item, "score": 0.5} for item in range(k)]] * len(vectors)

    async def close(self) -> None:
        """There is nothing to close."""


REMOVED: dict[str, tuple[ModuleType, str, Any]] = {
    "store": (factory, "OnlineStore", NoStore),
    "tower": (tower_factory, "TowerClient", NoTower),
    "index": (factory, "open_search", lambda *_: NoIndex()),
}
"""By stage where its part is made, by which name, and what is made in its place."""


def remove(stage: str) -> None:
    """From now on this process is without a stage."""
    module, name, stand_in = REMOVED[stage]
    getattr(module, name)  # What is not there is not what makes the part.
    setattr(module, name, stand_in)


def main() -> None:
    """Serve without the stage that is named."""
    stage, port = sys.argv[1], int(sys.argv[2])
    remove(stage)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(load_settings(), "127.0.0.1", port, taking))


if __name__ == "__main__":
    main()
