"""Redis answers while it writes nothing, and is killed: nobody was told of what it forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from pagoda.errors import UnavailableError
from serving.events.redis_stream import RedisStream
from serving.events.rules import Accepted
from serving.users.keys import STREAM
from serving.workers.sink import Sink
from tests.stalling_redis import StallingRedis

from .test_sink import MIDNIGHT_US, dataset, drain, filed

__all__ = ["dataset"]
pytestmark = pytest.mark.integration
EVENT = {"event_id": "e", "user_id": 1, "item_id": 10, "event": "click", "timestamp": MIDNIGHT_US}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StallingRedis]:
    """One in whose file nothing is written just now."""
    found = StallingRedis(tmp_path / "redis")
    found.stall()
    yield found
    found.kill()


@pytest.fixture
async def stream(server: StallingRedis) -> AsyncIterator[RedisStream]:
    """Where events are taken."""
    found = RedisStream(server.url, length=100)
    yield found
    await found.close()


def append(stream: RedisStream) -> asyncio.Task[int]:
    return asyncio.create_task(stream.append([Accepted(EVENT, enters=True, positive=True)]))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_event_is_taken_once_a_kill_loses_it_no_more(server: StallingRedis, stream: RedisStream) -> None:
    taking = append(stream)
    await until(lambda: server.client.xlen(STREAM))
    again = append(stream)
    done, _ = await asyncio.wait([taking, again], timeout=0.2)
    assert not done
    server.resume()
    assert await taking + await again == 1
    server.kill()
    server.start()
    assert server.client.xlen(STREAM) == 1


async def test_what_a_killed_redis_forgot_was_neither_taken_nor_filed(
    server: StallingRedis, stream: RedisStream, dataset: Path
) -> None:
    taking, sink = append(stream), Sink(server.url, str(dataset), slot_ms=1)
    await until(lambda: server.client.xlen(STREAM))
    filing = asyncio.create_task(asyncio.to_thread(sink.step))
    await asyncio.wait([filing], timeout=0.2)
    server.kill()
    server.start()
    for task in (taking, filing):
        with pytest.raises(UnavailableError):
            await task
    assert filed(dataset) == []
    assert await append(stream) == 1
    await asyncio.to_thread(drain, sink, server.client)
    assert filed(dataset) == [1]
