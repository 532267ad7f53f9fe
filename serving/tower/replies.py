"""Bodies to replies, for a whole batch: what is the same whichever server receives them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pagoda.errors import PagodaError
from serving.tower.bodies import Body, TowerAnswer, parse, render, render_error
from serving.tower.runtime import TowerRuntime

_OK = 200
logger = logging.getLogger(__name__)
Reply = tuple[int, bytes]
"""HTTP status and body."""


class Replies:
    """Answers bodies with one model version."""

    def __init__(self, runtime: TowerRuntime, version: str) -> None:
        self._runtime, self._version = runtime, version

    def to(self, raw: Sequence[bytes | bytearray]) -> list[Reply]:
        """One reply a body, in order. A body that is wrong gets its own 4xx and spoils no other's answer."""
        return self.answer([read(one) for one in raw])

    def answer(self, bodies: Sequence[Body | PagodaError]) -> list[Reply]:
        """As `to`, of bodies that were read."""
        good = [body for body in bodies if isinstance(body, Body)]
        answers = iter(self._runtime.predict_batch([body.request for body in good]))
        return [refuse(body) if isinstance(body, PagodaError) else self._reply(body, next(answers)) for body in bodies]

    def _reply(self, body: Body, answer: TowerAnswer | PagodaError) -> Reply:
        if isinstance(answer, PagodaError):
            return refuse(answer)
        return _OK, render(body, answer, self._version)


def refuse(error: PagodaError) -> Reply:
    """The reply to a request that gets no answer; what is our own failure is logged."""
    status, body = render_error(error)
    if status >= 500:  # noqa: PLR2004
        logger.error("%s", error)
    return status, body


def read(raw: bytes | bytearray) -> Body | PagodaError:
    """A body, or what is wrong with it."""
    try:
        return parse(raw)
    except PagodaError as error:
        return error
