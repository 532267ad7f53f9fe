"""Whether a request has company: others that go to the servers at the same time, whom it could share calls with.

One that has none asks each server itself, at once: no task, no turn of the event loop to wait for.
"""

from __future__ import annotations

from contextvars import ContextVar

from serving.blocks import Within

_there: ContextVar[bool] = ContextVar("_there", default=True)


def company(*, there: bool) -> Within[bool]:
    """Say for the block whether there may be any."""
    return Within(_there, there)


def accompanied() -> bool:
    """Whether there may be any."""
    return _there.get()
