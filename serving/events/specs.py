"""Which feature declaration events and item changes are checked against: the stable generation's."""

from __future__ import annotations

import asyncio
import time

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from pagoda.registry.log import ReleaseLog

_LOOK_SECONDS = 1.0


class StableSpec:
    """Reads the release log, so that events are taken while the parts that recall needs are down."""

    def __init__(self, log: ReleaseLog) -> None:
        self._log = log
        self._spec: FeatureSpec | None = None
        self._next_look = 0.0

    async def spec(self) -> FeatureSpec:
        """The stable generation's declaration; when the log does not answer, the one that was read last.

        Raises:
            UnavailableError: No generation was released yet, or the log does not answer.
        """
        if time.monotonic() >= self._next_look:
            await self._look()
        if self._spec is None:
            raise UnavailableError("events: no generation was released yet, so what they may hold is unknown")
        return self._spec

    async def _look(self) -> None:
        try:
            state = await asyncio.to_thread(self._log.state)
        except UnavailableError:
            if self._spec is None:
                raise
        else:
            found = state.generations[state.stable].spec if state.stable else None
            if found != self._spec:
                self._spec = found
        self._next_look = time.monotonic() + _LOOK_SECONDS
