"""Reading a request's body without letting it fill the memory."""

from __future__ import annotations

from fastapi import Request

from pagoda.errors import RequestError

MAX_BODY_BYTES = 1 << 20


class TooLargeError(RequestError):
    """A body is longer than `MAX_BODY_BYTES`."""


async def read_body(request: Request) -> bytes:
    """The request's body.

    Raises:
        TooLargeError: It is longer than `MAX_BODY_BYTES`.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise TooLargeError(f"body: longer than {MAX_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
