"""Which generations answer whom now, found by following the release log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cached_property

from pagoda.errors import NotHereYetError, PagodaError, UnavailableError
from pagoda.generations.arms import Arm
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.rollout.measures.compared_channels import compared_channels, measured_channels
from pagoda.rollout.state.log_reading import split_of
from pagoda.rollout.state.split import Split
from serving.background import cancel, every
from serving.http.deadlines import unhurried
from serving.recall.generations.generation import LiveGeneration
from serving.recall.metrics import SHARE, WINDOW_END, forget
from serving.release_follower import ReleaseFollower

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5
_PAUSES = 9
"""Times as long as a failed try took, where that was long, until the next: a tower in process takes seconds."""


@dataclass(frozen=True)
class Serving:
    """What each arm answers with. A request takes one of these at its start and uses no other."""

    split: Split
    stable: LiveGeneration
    canary: LiveGeneration | None = None
    """None: there is none, or it is not warm."""
    refused: bool = False
    """Whether the canary's last warm-up failed, so that its users' requests count as failed by it. One that is not here
    yet has not failed: what follows the log brings it to each host at its own time, and to those that are added."""

    def choose(self, user: int | str, header: str | None) -> tuple[Arm, bool]:
        """The arm of a user, and whether gates look at the request.

        Raises:
            RequestError: The header names no arm.
        """
        choice = self.split.choose(user, header)
        if choice.arm == "canary" and self.canary is None and not self.refused:
            return "stable", False  # It is being warmed, or on its way here; that is nobody's merit or fault.
        return choice.arm, choice.counted

    def of(self, arm: Arm) -> LiveGeneration:
        """The generation of an arm.

        Raises:
            UnavailableError: The canary is not warm.
        """
        if arm == "stable":
            return self.stable
        if self.canary is None:
            raise UnavailableError(f"canary {self.split.canary} could not be warmed up")
        return self.canary

    def candidates(self, arm: Arm) -> int:
        """Items that are looked for at least by an arm, or by the stable one in a canary's place; 0: as many as are
        asked for."""
        answering = (self.stable, self.canary if arm == "canary" else None)
        return max(live.manifest.candidates for live in answering if live)

    @cached_property
    def compared_channels(self) -> frozenset[str]:
        """Those without which an answer speaks against its arm; none without a canary."""
        return compared_channels(self.stable.manifest, self.canary.manifest) if self.canary else frozenset()

    @cached_property
    def measured_channels(self) -> tuple[str, ...]:
        """Those whose shares of the answers are compared."""
        return measured_channels(self.stable.manifest, self.canary.manifest) if self.canary else ()

    @property
    def generations(self) -> dict[Arm, LiveGeneration]:
        """Of each arm that has one."""
        return {"stable": self.stable, **({"canary": self.canary} if self.canary else {})}


Warm = Callable[[LiveGeneration], Awaitable[None]]
"""Sends real requests through what is about to serve; an error keeps it from serving."""


class Generations:
    """Follows the log. What it names serves once it is warm.

    Until then the stable generation that served before goes on, and the stable arm answers in a canary's place. Each
    generation is warmed by itself, so one that takes long keeps no other from its traffic, and none from losing it.
    """

    def __init__(self, log: ReleaseLog, warm: Warm) -> None:
        self.releases, self._warm = ReleaseFollower(log), warm
        """Seen at each of this one's looks; other parts of the process ask it rather than the log."""
        self._split: Split | None = None
        self._serving: Serving | None = None
        self._warmed: dict[str, LiveGeneration] = {}
        self._warming: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, float] = {}
        """When each may be tried again."""
        self._looking = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._told: tuple[set[str], set[str]] = set(), set()
        self._complaint = "the release log has not answered yet"

    @property
    def ready(self) -> bool:
        """Whether a generation answered a real request."""
        return self._serving is not None

    @property
    def warming(self) -> bool:
        """Whether a generation is being warmed."""
        return bool(self._warming)

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
        try:
            await every(POLL_SECONDS, self._look)
        finally:
            for task in list(self._warming.values()):
                await cancel(task)

    async def refresh(self) -> None:
        """Read the log and change over to what it says, when its stable generation is warm or was found wanting.

        Those who call at once share one look. On trouble, what served goes on, and the reason is logged.
        """
        if self._refreshing is None or self._refreshing.done():
            # What it warms up is measured by the generation's own time, not by what the first caller has left.
            self._refreshing = asyncio.create_task(self._refresh(), context=unhurried())
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        await self._look()
        if self._split and (task := self._warming.get(self._split.stable)):
            await asyncio.wait([task])

    async def _look(self) -> None:
        async with self._looking:  # Of two looks at once, the one that saw less must not be the last.
            try:
                state = await self.releases.look()
                self._split = await asyncio.to_thread(split_of, state)
                if self._split:
                    self._start_warming(state, self._split)
                else:
                    self._complaint = "no generation was released yet"
            except PagodaError as error:
                self._complain(str(error))
            self._settle()

    def _start_warming(self, state: ReleaseState, split: Split) -> None:
        named = [id_ for id_ in (split.stable, split.canary) if id_]
        self._refused = {id_: again for id_, again in self._refused.items() if id_ in named}
        for id_ in named:
            due = self._refused.get(id_, 0.0) <= time.monotonic()
            if id_ not in self._warmed and id_ not in self._warming and due:
                if id_ == split.stable and id_ not in self._refused:  # Why it was refused tells more.
                    self._complaint = f"generation {id_} is being warmed up"
                live = LiveGeneration(state.generation(id_))
                self._warming[id_] = asyncio.create_task(self._try(live))

    async def _try(self, live: LiveGeneration) -> None:
        began = time.monotonic()
        try:
            await self._warm(live)
        except NotHereYetError as error:
            self._refused.pop(live.id, None)
            self._complain(str(error))
        except Exception as error:  # Whatever it is, it is the generation's own.
            now = time.monotonic()
            took = now - began
            self._refused[live.id] = now + (_PAUSES * took if took > POLL_SECONDS else 0.0)
            self._complain(str(error) or repr(error))
        else:
            self._refused.pop(live.id, None)
            self._warmed[live.id] = live
        finally:
            del self._warming[live.id]
        self._settle()

    def _settle(self) -> None:
        """Serve what the log says as far as it is warm."""
        split = self._split
        stable = self._warmed.get(split.stable) if split else None
        if stable is None and self._serving is not None:
            stable = self._serving.stable
        if split is None or stable is None:
            return
        split = replace(split, stable=stable.id)
        canary = self._warmed.get(split.canary) if split.canary else None
        serving = Serving(split, stable, canary, split.canary in self._refused)
        if serving != self._serving:
            self._serving = serving
            self._announce(serving)
        # A generation that no arm names any more is warmed again before it comes back.
        self._warmed = {id_: live for id_, live in self._warmed.items() if id_ in (stable.id, split.canary)}

    def _announce(self, serving: Serving) -> None:
        served, shares = serving.generations, _shares(serving)
        WINDOW_END.clear()
        SHARE.clear()
        for arm, live in served.items():
            WINDOW_END.labels(arm).set(live.manifest.window.end.timestamp())
            SHARE.labels(arm, live.id).set(shares[arm])
        # What left the arms one change ago has had its last values collected by now.
        before, now, then = *self._told, {live.id for live in served.values()}
        forget(before - now - then)
        self._told = now, then
        logger.info("serving %s", {arm: f"{live.id} {shares[arm]:.0%}" for arm, live in served.items()})

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.warning("%s", complaint)
        self._complaint = complaint


def _shares(serving: Serving) -> dict[Arm, float]:
    """Of the users; a canary that is not warm, or a shadow, has none."""
    split = serving.split
    canary = split.percent / 100 if serving.canary and not split.shadow else 0.0
    return {"stable": 1 - canary, "canary": canary}
