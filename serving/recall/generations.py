"""Which generations answer now, found by following the release log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pagoda.errors import PagodaError, UnavailableError
from pagoda.registry.arms import ARMS, Arm
from pagoda.registry.log import ReleaseLog
from serving.recall.live import LiveGeneration
from serving.recall.metrics import WINDOW_END

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Serving:
    """What each arm answers with. A request takes one of these at its start and uses no other."""

    arms: dict[Arm, LiveGeneration]

    def pick(self) -> tuple[Arm, LiveGeneration]:
        """The arm that answers, and its generation."""
        return "stable", self.arms["stable"]


Warm = Callable[[Serving], Awaitable[None]]
"""Sends real requests through what is about to serve; an error keeps it from serving."""


class Generations:
    """Follows the log. What it finds serves once it is warm; until then, what served before goes on."""

    def __init__(self, log: ReleaseLog, warm: Warm) -> None:
        self._log, self._warm = log, warm
        self._serving: Serving | None = None
        self._changing = asyncio.Lock()
        self._complaint = "no generation was released yet"

    @property
    def ready(self) -> bool:
        """Whether a generation answered a real request."""
        return self._serving is not None

    def require(self) -> Serving:
        """What serves now.

        Raises:
            UnavailableError: Nothing does yet.
        """
        if self._serving is None:
            raise UnavailableError(f"not ready: {self._complaint}")
        return self._serving

    async def follow(self) -> None:
        """Follow the log until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> None:
        """Read the log and change over to what it says. On trouble, what served goes on, and the reason is logged."""
        async with self._changing:
            try:
                await self._change()
            except PagodaError as error:
                if str(error) != self._complaint:
                    logger.warning("%s", error)
                self._complaint = str(error)

    async def _change(self) -> None:
        state = await asyncio.to_thread(self._log.state)
        held = self._serving.arms if self._serving else {}
        released = {arm: id_ for arm in ARMS if (id_ := state.arms.of(arm))}
        if "stable" not in released or released == {arm: live.id for arm, live in held.items()}:
            return
        known = {live.id: live for live in held.values()}
        serving = Serving(
            {arm: known.get(id_) or LiveGeneration(state.generation(id_)) for arm, id_ in released.items()}
        )
        await self._warm(serving)
        self._serving = serving
        WINDOW_END.clear()
        for arm, live in serving.arms.items():
            WINDOW_END.labels(arm).set(live.manifest.window.end.timestamp())
        logger.info("serving %s", released)
