"""Bodies of requests, from their first byte until they are answered: so many bytes at once and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from pagoda.errors import RequestError, UnavailableError
from serving.http.body_reading import TooLargeError

MOST_BODY_BYTES = 64 << 20
"""Recall joins up to 32 requests of up to 1 MiB into one."""
MOST_HELD_BYTES = 4 * MOST_BODY_BYTES
"""Of all bodies; a thousand that wait, as recall sends them, are some megabytes."""
_READ_SECONDS = 10.0
"""For one body: recall sends each whole, and a sender who stops half-way would keep others' room for ever."""


class HeldBodies:
    """Reads bodies, and counts what of them is in memory."""

    def __init__(self, most: int = MOST_HELD_BYTES, seconds: float = _READ_SECONDS) -> None:
        """None is read yet; `most` bytes are held at once, and one body may take `seconds` to come."""
        self._most, self._seconds, self._held = most, seconds, 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, which is held until the block ends.

        Raises:
            TooLargeError: It is longer than `MOST_BODY_BYTES`.
            RequestError: It takes too long to come.
            UnavailableError: Others' bodies leave no room for it.
            ClientDisconnect: It ends before its end.
        """
        parts, size = [], 0
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    async for part in request.stream():
                        size += len(part)
                        self._held += len(part)
                        if size > MOST_BODY_BYTES:
                            raise TooLargeError(f"body: longer than {MOST_BODY_BYTES} bytes")
                        if self._held > self._most:
                            raise UnavailableError(f"bodies of {self._most >> 20} MiB wait already; try again")
                        parts.append(part)
            except TimeoutError:
                raise RequestError(f"body: {size} bytes of it came within {self._seconds:g} s; send all") from None
            body = b"".join(parts)
            parts.clear()  # Else each byte would be there twice until it is answered.
            yield body
        finally:
            self._held -= size
