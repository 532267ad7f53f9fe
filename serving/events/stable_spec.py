"""Which feature declaration events and item changes are checked against: the stable generation's."""

from __future__ import annotations

import asyncio
import time

from pagoda.data.spec import FeatureSpec
from pagoda.errors import PagodaError, UnavailableError
from pagoda.generations.release_log import ReleaseLog

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 0.25
"""A look that takes longer keeps nobody waiting who can be told an older declaration."""


class StableSpec:
    """Reads the release log, so that events are taken while the parts that recall needs are down."""

    def __init__(self, log: ReleaseLog) -> None:
        self._log = log
        self._spec: FeatureSpec | None = None
        self._complaint = "the release log has not answered yet"
        self._look: asyncio.Task[None] | None = None
        self._began = self._next_look = 0.0

    async def spec(self) -> FeatureSpec:
        """The stable generation's declaration; when the log does not answer, the one that was read last.

        Raises:
            UnavailableError: No generation was released yet, or the log cannot be read.
        """
        if look := self._under_way():
            patience = max(0.0, self._began + _PATIENCE_SECONDS - time.monotonic())
            await asyncio.wait([look], timeout=None if self._spec is None else patience)
        if self._spec is None:
            raise UnavailableError(f"events: {self._complaint}")
        return self._spec

    def _under_way(self) -> asyncio.Task[None] | None:
        """The look that goes on, or begins since the last one is a second ago: one for all who ask.

        A log that hangs would keep looks of their own waiting for each other, and the events with them.
        """
        if self._look is None and time.monotonic() >= self._next_look:
            self._look, self._began = asyncio.create_task(self._read()), time.monotonic()
        return self._look

    async def _read(self) -> None:
        try:
            state = await asyncio.to_thread(self._log.state)
        except PagodaError as error:
            self._complaint = str(error)
        else:
            found = state.generations[state.stable].spec if state.stable else None
            if found != self._spec:
                self._spec = found
            self._complaint = "no generation was released yet, so what they may hold is unknown"
        finally:
            self._look, self._next_look = None, time.monotonic() + _LOOK_SECONDS
