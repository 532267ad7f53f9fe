"""The release log as a process sees it: read by one loop, for all that need to know of it."""

from __future__ import annotations

import asyncio

from pagoda.errors import PagodaError, UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState


class ReleaseFollower:
    """What the log said at the last look. One loop of the process looks; whoever else asks waits for no look."""

    def __init__(self, log: ReleaseLog) -> None:
        self._log = log
        self._state: ReleaseState | None = None
        self._complaint = "the release log has not answered yet"
        self._looked = asyncio.Event()

    async def look(self) -> ReleaseState:
        """Read what is new.

        Raises:
            UnavailableError: The log does not answer.
            IntegrityError: A record is damaged.
        """
        try:
            self._state = await asyncio.to_thread(self._log.state)
        except PagodaError as error:
            self._complaint = str(error)
            raise
        finally:
            self._looked.set()
        return self._state

    async def seen(self) -> ReleaseState:
        """What the last look that succeeded saw, so that a log which is down stops nobody; waits for the first look.

        Raises:
            UnavailableError: None has succeeded yet.
        """
        await self._looked.wait()
        if self._state is None:
            raise UnavailableError(self._complaint)
        return self._state
