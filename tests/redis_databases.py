"""Databases of the shared Redis, for tests that want one to themselves."""

from __future__ import annotations

import redis


def database(url: str, number: int) -> str:
    """The URL of an empty one."""
    own = f"{url.partition('?')[0]}?db={number}"
    empty(own)
    return own


def empty(url: str) -> None:
    """Delete every key, one by one: the platform's Redis has no FLUSHDB for anybody."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            client.delete(key)
