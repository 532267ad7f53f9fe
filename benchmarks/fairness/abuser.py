"""One client that does its worst: `python -m benchmarks.fairness.abuser ABUSE PORT TOKENS`, until it is killed.

It comes from 127.0.0.2, as another client would come from another address, and shows a token of each role from the
folder TOKENS: who has none is turned away before they cost anything.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import uvloop

from pagoda.access.tokens import token_of

ADDRESS = "127.0.0.2"
_PREDICT, _EVENTS = "/v1/models/recall:predict", "/v1/events"
_HEAVY = orjson.dumps({"instances": [{"user_id": user, "k": 1000} for user in range(100)]})
_SLOW_CONNECTIONS = 500
_UNKNOWN = itertools.count(1 << 40)
"""Users whom nobody has heard of."""
_READ_BYTES = 1 << 18


class Abuser:
    """Abuses the server at a port."""

    def __init__(self, port: int, tokens: Path) -> None:
        self._port = port
        self._tokens = {_PREDICT: token_of(tokens, "ask"), _EVENTS: token_of(tokens, "events")}

    async def endless_headers(self) -> None:
        """One header without an end, again and again."""
        await self._many(4, self._endless)

    async def slow_connections(self) -> None:
        """Five hundred of them, a byte a second each."""
        await self._many(_SLOW_CONNECTIONS, self._slow)

    async def heavy_requests(self) -> None:
        """A hundred users who want a thousand items each, eight requests at once."""
        await self._many(8, lambda: self._ask_again(_PREDICT, lambda: _HEAVY))

    async def cancelled_requests(self) -> None:
        """The same, given up as soon as they are sent."""
        await self._many(16, self._cancelled)

    async def event_floods(self) -> None:
        """Two hundred events of users whom nobody knows, eight requests at once."""
        await self._many(8, lambda: self._ask_again(_EVENTS, _events))

    async def _many(self, count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*(_again(work) for _ in range(count)))

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(ADDRESS, 0), limit=_READ_BYTES)

    async def _endless(self) -> None:
        _, writer = await self._open()
        try:
            writer.write(b"GET / HTTP/1.1\r\nhost: recall\r\nx: ")
            while True:
                writer.write(b"y" * 16_384)
                await writer.drain()
        finally:
            writer.close()

    async def _slow(self) -> None:
        _, writer = await self._open()
        try:
            writer.write(b"GET / HTTP/1.1\r\nhost: recall\r\nx: ")
            while not writer.is_closing():
                await asyncio.sleep(1)
                writer.write(b"y")
                await writer.drain()
        finally:
            writer.close()

    async def _cancelled(self) -> None:
        _, writer = await self._open()
        try:
            writer.write(self._request(_PREDICT, _HEAVY))
            await writer.drain()
        finally:
            writer.close()

    async def _ask_again(self, path: str, body: Callable[[], bytes]) -> None:
        reader, writer = await self._open()
        try:
            while True:
                writer.write(self._request(path, body()))
                head = await reader.readuntil(b"\r\n\r\n")
                left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while left:
                    left -= len(await reader.read(min(left, _READ_BYTES)))
        finally:
            writer.close()

    def _request(self, path: str, body: bytes) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self._tokens[path]}\r\n"
        rest = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return (head + rest).encode() + body


def _events() -> bytes:
    return orjson.dumps({"events": [{"user_id": next(_UNKNOWN), "item_id": 1, "event": "click"} for _ in range(200)]})


async def _again(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            await work()


ABUSES = ("endless_headers", "slow_connections", "heavy_requests", "cancelled_requests", "event_floods")


if __name__ == "__main__":
    uvloop.run(getattr(Abuser(int(sys.argv[2]), Path(sys.argv[3])), sys.argv[1])())
