"""Joins what is asked at once: requests that came in while others were computed make the next batch (`Turns`).

Nobody waits for company: where one asks, it is computed at once. It happens in the event loop's thread, for handing a
request to another one and back costs a third of what the tower itself does, and what the loop could do meanwhile needs
the same lock of Python.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pagoda.errors import NotHeldError, PagodaError, UnavailableError
from serving import tracing
from serving.tower.bodies import Body
from serving.tower.kserve.metrics import BATCH_REQUESTS, COMPUTE_SECONDS
from serving.tower.kserve.versions import LoadedVersions
from serving.tower.replies import Reply, read, refuse
from serving.turns import Turns

MOST_WAITING = 1000
"""Longer than for these a request would wait past its deadline anyway."""
_NOT_FOUND = 404
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request's body."""

    raw: bytes
    version: int | None = None
    """The full version that its address names; None: that of the generation that the body names."""
    parent: str | None = None
    """The trace that it belongs to."""


class Batches:
    """Answers requests by the versions that are loaded, several at once."""

    def __init__(self, versions: LoadedVersions, size: int) -> None:
        """Make it; `size` is how many requests are computed at once at most."""
        self._versions, self._waiting = versions, 0
        self._turns: Turns[None, Asked, Reply] = Turns(self._compute, most=size)

    async def answer(self, asked: Asked) -> Reply:
        """The answer to one request.

        Raises:
            UnavailableError: Too many wait already.
        """
        if self._waiting >= MOST_WAITING:
            raise UnavailableError(f"{MOST_WAITING} requests wait already; try again")
        self._waiting += 1
        try:
            return await self._turns.ask(None, asked)
        except Exception as error:
            _log.exception("a request failed")
            return refuse(PagodaError(f"the tower failed ({type(error).__name__}); see its log"))
        finally:
            self._waiting -= 1

    def _compute(self, _: None, batch: Sequence[Asked]) -> list[Reply]:
        BATCH_REQUESTS.observe(len(batch))
        with COMPUTE_SECONDS.time(), ExitStack() as stack:
            if tracing.on():
                for asked in batch:
                    if asked.parent:
                        parent = {tracing.PARENT: asked.parent}
                        stack.enter_context(tracing.span("tower.compute", parent, requests=len(batch)))
            bodies = [read(asked.raw) for asked in batch]
            replies: dict[int, Reply] = {}
            by_version: defaultdict[int, list[int]] = defaultdict(list)
            for place, (asked, body) in enumerate(zip(batch, bodies, strict=True)):
                try:
                    by_version[self._version(asked, body)].append(place)
                except PagodaError as error:
                    replies[place] = refuse(error)
            for version, places in by_version.items():
                replies |= zip(places, self._of(version, [bodies[place] for place in places]), strict=True)
        return [replies[place] for place in range(len(batch))]

    def _version(self, asked: Asked, body: Body | PagodaError) -> int:
        if asked.version is not None:
            return asked.version
        if isinstance(body, PagodaError):
            raise body
        return self._versions.of_generation(body.request.generation)

    def _of(self, version: int, bodies: Sequence[Body | PagodaError]) -> list[Reply]:
        try:
            return self._versions.of(version).replies.answer(bodies)
        except NotHeldError as error:  # As TorchServe says it of a version: a tower elsewhere may have it.
            return [(_NOT_FOUND, refuse(error)[1])] * len(bodies)
