"""Whether a request has company: others that go to the servers at the same time, whom it could share calls with.

One that has none asks each server itself, at once: no task, no turn of the event loop to wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_there: ContextVar[bool] = ContextVar("_there", default=True)


@contextmanager
def company(*, there: bool) -> Iterator[None]:
    """Say for the block whether there may be any."""
    token = _there.set(there)
    try:
        yield
    finally:
        _there.reset(token)


def accompanied() -> bool:
    """Whether there may be any."""
    return _there.get()
