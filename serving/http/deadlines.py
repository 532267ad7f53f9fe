"""How long a request may still take. Whoever asks a server for it waits no longer."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, ContextVar, copy_context

from pagoda.errors import RequestError, UnavailableError
from serving.blocks import Within

DEADLINE_HEADER = "x-pagoda-deadline-ms"
"""Request header: milliseconds that the caller waits. What cannot be had by then is stood in for."""
LONGEST_MS = 600_000
_NO_LIMIT: AbstractContextManager[None] = nullcontext()
_limit: ContextVar[float] = ContextVar("_limit", default=math.inf)
"""When the request ends, by `time.monotonic`."""


class LateError(UnavailableError):
    """A server or a file did not answer in the time that there was."""


def deadline(header: str | None) -> AbstractContextManager[None]:
    """For the block, what is left follows from the header's value, if there is one.

    Raises:
        RequestError: It is no number of milliseconds.
    """
    return Within(_limit, time.monotonic() + _milliseconds(header) / 1e3) if header else _NO_LIMIT


def within(seconds: float | None) -> AbstractContextManager[None]:
    """For the block, no more than `seconds` are left; None: as many as there are."""
    return _NO_LIMIT if seconds is None else Within(_limit, min(_limit.get(), time.monotonic() + seconds))


def left(most_seconds: float) -> float:
    """Seconds that a call may take: at most `most_seconds`, and no longer than the request has."""
    return min(most_seconds, _limit.get() - time.monotonic())


def remaining() -> float | None:
    """Seconds that the request still has; None: as many as it takes."""
    seconds = left(math.inf)
    return None if math.isinf(seconds) else seconds


def unhurried() -> Context:
    """A context for work that a request only happens to begin: the caller's deadline is none of its business."""
    context = copy_context()
    context.run(_limit.set, math.inf)
    return context


def _milliseconds(header: str) -> float:
    try:
        value = float(header)
    except ValueError:
        value = -1.0
    if not 0 < value <= LONGEST_MS:
        raise RequestError(
            f"header {DEADLINE_HEADER}: must be milliseconds, above 0 and at most {LONGEST_MS} (got {header[:40]!r})"
        )
    return value
