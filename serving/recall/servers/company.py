"""Whether a request has company: others that go to the servers at the same time, whom it could share calls with.

One that has none asks each server itself, at once: no task, no turn of the event loop to wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_company: ContextVar[bool] = ContextVar("_company", default=True)


@contextmanager
def unaccompanied() -> Iterator[None]:
    """For the block, there is nobody."""
    token = _company.set(False)
    try:
        yield
    finally:
        _company.reset(token)


def accompanied() -> bool:
    """Whether there may be somebody."""
    return _company.get()
