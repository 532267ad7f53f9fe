"""Round trips to a real Redis: whatever became of one, the next one gets its own replies."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from serving.users.round_trips import RoundTrips
from tests.redis_databases import database

pytestmark = pytest.mark.integration


async def test_whatever_became_of_one_the_next_gets_its_own_replies(redis_url: str) -> None:
    url = database(redis_url, 9)
    redis.Redis.from_url(url).mset({"a": "1", "b": "2"})
    trips, hasty = RoundTrips(url, 60.0), RoundTrips(url, 0.3)
    assert await trips.make([("GET", "a"), ("GET", "b")]) == [b"1", b"2"]
    with pytest.raises(ResponseError):
        await trips.make([("LRANGE", "a", 0, -1), ("GET", "a")])
    assert await trips.make([("GET", "b")]) == [b"2"]
    waiting = asyncio.create_task(trips.make([("BLPOP", "nothing", 0)]))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await trips.make([("GET", "b")]) == [b"2"]
    assert await trips.make([("QUIT",)]) == [b"OK"]  # Redis closes the connection.
    assert await trips.make([("GET", "b")]) == [b"2"]
    with pytest.raises(TimeoutError):
        await hasty.make([("BLPOP", "nothing", 0)])
    for one in (trips, hasty):
        await one.close()


async def test_what_is_under_way_when_it_is_closed_ends_and_leaves_no_connection(redis_url: str) -> None:
    url = database(redis_url, 9)
    trips, made = RoundTrips(url, 60.0), list[AbstractConnection]()
    make = trips._made_by.make_connection
    trips._made_by.make_connection = lambda: made.append(make()) or made[-1]  # type: ignore[method-assign,func-returns-value]
    waiting = asyncio.create_task(trips.make([("BLPOP", "queue", 0)]))
    while not (made and made[0].is_connected):
        await asyncio.sleep(0.001)
    await trips.close()
    redis.Redis.from_url(url).rpush("queue", "x")
    assert await waiting == [[b"queue", b"x"]]
    assert not made[0].is_connected
