"""Reading a request's body without letting it fill the memory."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from pagoda.errors import RequestError

MAX_BODY_BYTES = 1 << 20


class TooLargeError(RequestError):
    """A body is longer than `MAX_BODY_BYTES`."""


async def read_body(request: Request) -> bytes:
    """The request's body.

    Raises:
        TooLargeError: It is longer than `MAX_BODY_BYTES`.
        RequestError: The caller left before its end.
    """
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise TooLargeError(f"body: longer than {MAX_BODY_BYTES} bytes")
            parts.append(part)
    except ClientDisconnect:
        raise RequestError(f"body: ends after {size} bytes, since the caller has left") from None
    return b"".join(parts)
