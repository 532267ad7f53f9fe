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
        bodies = [_read(one) for one in raw]
        good = [body for body in bodies if isinstance(body, Body)]
        answers = iter(self._runtime.predict_batch([body.request for body in good]))
        return [
            self._refuse(body) if isinstance(body, PagodaError) else self._reply(body, next(answers)) for body in bodies
        ]

    def _reply(self, body: Body, answer: TowerAnswer | PagodaError) -> Reply:
        if isinstance(answer, PagodaError):
            return self._refuse(answer)
        return _OK, render(body, answer, self._version)

    def _refuse(self, error: PagodaError) -> Reply:
        status, body = render_error(error)
        if status >= 500:  # noqa: PLR2004
            logger.error("%s", error)
        return status, body


def _read(raw: bytes | bytearray) -> Body | PagodaError:
    try:
        return parse(raw)
    except PagodaError as error:
        return error
