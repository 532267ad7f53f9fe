"""Reading a request's body without letting it fill the memory."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from pagoda.errors import RequestError
from serving.http import callers
from serving.http.shares import Allowance
from serving.recall.admission import ShedError

MAX_BODY_BYTES = 1 << 20


class TooLargeError(RequestError):
    """A body is longer than `MAX_BODY_BYTES`."""


_ALLOWANCE = Allowance()


async def read_body(request: Request, weight: float = 1.0) -> bytes:
    """The request's body.

    Args:
        request: Whose it is.
        weight: How much more it costs than others of its size.

    Raises:
        ShedError: The client sends more than its share.
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
    if not _ALLOWANCE.take(callers.current().client, weight * size):
        raise ShedError("you send more than your share while others ask, too; try again")
    return b"".join(parts)
