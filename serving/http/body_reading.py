"""Reading a request's body without letting it fill the memory."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from pagoda.errors import RequestError
from serving.http import callers
from serving.http.client_shares import Allowance
from serving.http.overload import GreedyError

MAX_BODY_BYTES = 1 << 20


class TooLargeError(RequestError):
    """A body is longer than `MAX_BODY_BYTES`."""


BYTES_A_SECOND = float(1 << 20)
"""Of one client while others ask. Reading costs 0.1 ms a kilobyte at worst, and nobody is answered meanwhile."""
_LEAST_BYTES = 512
"""What a request counts as at least: it is work without a body, too."""
_TURNS = 2
"""Of the loop, in which it hears that a caller has hung up with the last byte: what they sent is not read then."""
ALLOWANCE = "pagoda.allowance"
"""In a request's scope: the application's `Allowance` of bytes."""


async def read_body(request: Request, weight: float = 1.0) -> bytes:
    """The request's body.

    Args:
        request: Whose it is.
        weight: How much more it costs than others of its size.

    Raises:
        GreedyError: The client sends more than its share.
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
    caller = callers.current()
    if size > _LEAST_BYTES:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    if caller.gone:
        raise RequestError("the caller has left")
    allowance: Allowance = request.scope[ALLOWANCE]
    if not allowance.take(caller.client, weight * max(size, _LEAST_BYTES)):
        raise GreedyError("you send more than your share while others ask, too; try again")
    return b"".join(parts)
