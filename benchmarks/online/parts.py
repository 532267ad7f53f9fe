"""Each part alone: what Redis, TorchServe and Milvus take for the calls that a request makes of them.

Each is asked by the library that Pagoda and the straightforward path ask it by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import numpy as np
import orjson
import psutil
from pymilvus import AsyncMilvusClient

from benchmarks.online.installation import Installation
from benchmarks.online.measure import cpu
from benchmarks.online.world import HISTORY, NOW_US, SPEC
from pagoda.index.milvus.parameters import search_params
from pagoda.settings import CollectionConfig, tower_address
from serving.http.fields import PastItems
from serving.recall.api import RecallInstance
from serving.recall.generations.generation import LiveGeneration
from serving.recall.servers.tower import connector_of
from serving.users.keys import profile_key, recent_key
from serving.users.online_store import OnlineStore
from serving.users.round_trips import RoundTrips

_BUSY = 32
_SECONDS = 10.0
_WARM_SECONDS = 0.5
_BODIES = 500
Call = Callable[[int, int], Awaitable[object]]
"""The call of a worker's turn."""


async def one_at_a_time(installation: Installation, seconds: float) -> dict[str, dict[str, float]]:
    """p50 and p99 of each part's calls, one at a time, in milliseconds; in turn, as a request makes them.

    A call that follows its like finds caches, predictors and threads as the last one left them, and takes two to four
    fifths of that: see `repeated`.
    """
    calls, closes = await _open(installation)
    await _run(calls, 1, _WARM_SECONDS)
    took = await _run(calls, 1, seconds)
    for close in closes:
        await close()
    return {
        name: {"p50": _milliseconds(of_part, 50), "p99": _milliseconds(of_part, 99)} for name, of_part in took.items()
    }


async def repeated(installation: Installation, seconds: float) -> dict[str, dict[str, float]]:
    """p50 of each part's calls when nothing else is called between them, in milliseconds."""
    calls, closes = await _open(installation)
    found = {}
    for name, call in calls.items():
        await _run({name: call}, 1, _WARM_SECONDS)
        took = await _run({name: call}, 1, seconds)
        found[name] = {"p50_repeated": round(_milliseconds(took[name], 50), 3)}
    for close in closes:
        await close()
    return found


async def many_at_once(installation: Installation, seconds: float) -> dict[str, dict[str, float]]:
    """Of each part, processor time of a call with 32 at once, and how many of them there are a second."""
    found = {}
    for name, make in _PARTS.items():
        call, close = await make(installation)
        await _run({name: call}, 4, _WARM_SECONDS)
        with cpu({name: psutil.Process(installation.pid(name))}) as used:
            calls = len((await _run({name: call}, _BUSY, seconds))[name])
        await close()
        found[name] = {
            "cpu_ms_per_request": round(used.used[name] * 1e3 / calls, 3),
            "rps_32_at_once": round(calls / seconds, 1),
        }
    return found


async def _open(installation: Installation) -> tuple[dict[str, Call], list[Callable[[], Awaitable[None]]]]:
    """The calls of all parts, and what closes their connections."""
    made = {name: await make(installation) for name, make in _PARTS.items()}
    return {name: call for name, (call, _) in made.items()}, [close for _, close in made.values()]


async def _run(calls: Mapping[str, Call], workers: int, seconds: float) -> dict[str, list[float]]:
    """Workers that make all calls in turn, again and again: the seconds that each took."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()

    async def work(worker: int) -> None:
        turn = 0
        while time.perf_counter() - start < seconds:
            for name, call in calls.items():
                begin = time.perf_counter()
                await call(worker, turn)
                took[name].append(time.perf_counter() - begin)
            turn += 1

    await asyncio.gather(*(work(worker) for worker in range(workers)))
    return took


def _milliseconds(seconds: list[float], quantile: float) -> float:
    return float(np.percentile(seconds, quantile)) * 1e3


async def _redis(installation: Installation) -> tuple[Call, Callable[[], Awaitable[None]]]:
    redis, users = RoundTrips(installation.settings.redis.url, _SECONDS), len(installation.world.users)

    async def call(worker: int, turn: int) -> object:
        user = (worker * 7919 + turn * 31) % users
        return await redis.make([("GET", profile_key(user)), ("LRANGE", recent_key(user), -HISTORY, -1)])

    return call, redis.close


async def _torchserve(installation: Installation) -> tuple[Call, Callable[[], Awaitable[None]]]:
    address = tower_address(installation.settings.tower.url, installation.manifest.full_version)
    connector = connector_of(installation.settings.tower.url)
    session = aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"})
    bodies = await _tower_bodies(installation)

    async def call(worker: int, turn: int) -> object:
        async with session.post(address, data=bodies[(worker * 31 + turn) % len(bodies)]) as answer:
            answer.raise_for_status()
            return await answer.read()

    return call, session.close


async def _tower_bodies(installation: Installation) -> list[bytes]:
    manifest, store = installation.manifest, OnlineStore(installation.settings.redis.url)
    generation = LiveGeneration(manifest)
    asked = [RecallInstance(user_id=int(user), timestamp=NOW_US) for user in installation.world.users[:_BODIES]]
    stored = await store.read([(one.user_id, False) for one in asked], SPEC)
    await store.close()
    told = [generation.tower_instance(one, known) for one, known in zip(asked, stored, strict=True)]
    return [orjson.dumps({"generation": manifest.id, "instances": [one]}, default=PastItems.rows) for one in told]


async def _milvus(installation: Installation) -> tuple[Call, Callable[[], Awaitable[None]]]:
    client = AsyncMilvusClient(installation.settings.milvus.uri)
    vectors = installation.user_vectors(installation.world.users[:_BODIES].tolist()).tolist()
    config: Mapping[str, Any] = search_params("HNSW", 100, CollectionConfig().effort)

    async def call(worker: int, turn: int) -> object:
        return await client.search(
            installation.manifest.collection,
            [vectors[(worker * 31 + turn) % len(vectors)]],
            limit=100,
            anns_field="vector",
            search_params={"metric_type": "IP", "params": config},
            consistency_level="Eventually",
        )

    return call, client.close


_PARTS: dict[str, Callable[[Installation], Awaitable[tuple[Call, Callable[[], Awaitable[None]]]]]] = {
    "redis": _redis,
    "torchserve": _torchserve,
    "milvus": _milvus,
}
