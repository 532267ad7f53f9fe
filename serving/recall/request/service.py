"""A request's way through the arms: each user is answered by the generation of one arm, and by nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from pagoda.errors import NotHeldError, RequestError
from pagoda.generations.arms import Arm
from serving.error_reasons import reason
from serving.http import callers
from serving.http.callers import Caller
from serving.http.deadlines import remaining
from serving.logs import about
from serving.recall.api import Prediction, RecallInstance
from serving.recall.generations.follower import Generations, Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.metrics import FALLBACKS, IN_FLIGHT
from serving.recall.request.admission import UNBOUNDED, Admission
from serving.recall.request.answer import answer_by
from serving.recall.request.arm_group import ArmGroup, Turn, cost_of, groups_of
from serving.recall.request.cohorts import Cohorts
from serving.recall.request.outcomes import Ledger
from serving.recall.request.parts import Parts
from serving.recall.request.shadow import Shadow
from serving.users.keys import Key

_GROUPS_AT_ONCE = 8
"""Of one request. More would not get further: see `Cohorts`."""
logger = logging.getLogger(__name__)


class Recall:
    """Answers requests by what serves now."""

    def __init__(
        self,
        parts: Parts,
        generations: Generations,
        ledger: Ledger,
        *,
        canary_seconds: float,
        admission: Admission = UNBOUNDED,
        cohorts_at_once: int = 1 << 30,
    ) -> None:
        """Nothing is asked yet.

        Args:
            parts: The servers.
            generations: What serves.
            ledger: Takes down what became of each user.
            canary_seconds: How long the canary arm may take before the stable arm answers in its place.
            admission: Says who has to come back later.
            cohorts_at_once: How many cohorts of requests are under way; see `Cohorts`.
        """
        self._parts, self._generations, self._ledger = parts, generations, ledger
        self._canary_seconds, self._admission = canary_seconds, admission
        self._cohorts = Cohorts(cohorts_at_once)
        self._mirrors = Shadow(parts.strict, ledger, canary_seconds)

    async def answer(self, asked: Sequence[RecallInstance], header: str | None = None) -> list[Prediction]:
        """Answer one request by what serves at its start.

        Args:
            asked: The users; those of one arm are answered together.
            header: Value of `ARM_HEADER`, by which a tester chooses the arm.

        Raises:
            RequestError: A field or the header is wrong; the message names it.
            ShedError: There is too much to do just now.
            UnavailableError: Nothing serves yet, or a server does not answer and nothing stands in for it.
            NotHeldError: The tower does not hold the generation.
        """
        caller = callers.current()
        with IN_FLIGHT.track_inprogress(), self._admission.admitted(caller.client, sum(map(cost_of, asked))):
            serving = self._generations.require()
            groups = [part for group in groups_of(serving, asked, header) for part in group.slices()]
            if len(groups) == 1:
                return await self._in_turn(serving, groups[0], caller)
            return await self._by_groups(serving, groups, caller)

    async def _in_turn(self, serving: Serving, group: ArmGroup, caller: Caller) -> list[Prediction]:
        async with self._cohorts.joined(caller, group.cost):
            return await self._answer(serving, group)

    async def _by_groups(self, serving: Serving, groups: Sequence[ArmGroup], caller: Caller) -> list[Prediction]:
        answers: dict[int, Prediction] = {}
        left = iter(groups)

        async def work() -> None:
            for group in left:
                predictions = await self._in_turn(serving, group, caller)
                answers.update(zip(group.places, predictions, strict=True))

        # What fails leaves nothing under way that nobody waits for.
        ends = await asyncio.gather(*(work() for _ in groups[:_GROUPS_AT_ONCE]), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return [answers[place] for place in range(len(answers))]

    def clicked(self, users: Sequence[Key]) -> None:
        """Take down that users took to something."""
        if self._generations.ready:
            self._ledger.clicked(self._generations.require().split, users)

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._mirrors.close()

    async def _answer(self, serving: Serving, group: ArmGroup) -> list[Prediction]:
        turn = Turn(serving, group, self._canary_seconds)
        own = await self._by_canary(serving, group, turn) if group.arm == "canary" else None
        try:
            predictions = own or await self._by_stable(serving.stable, group)
        except RequestError:
            raise  # The caller's fault, and no arm's.
        except Exception:
            turn.stop(failed=True)
            turn.count()
            self._ledger.take(turn)
            raise
        # What stood in for a server of the stable arm would have failed a canary, for which nothing does.
        turn.stop(failed=any(one["degraded"] for one in predictions))
        turn.count()
        if own is None and group.arm == "canary" and turn.told:
            FALLBACKS.labels("canary", str(serving.split.canary)).inc(len(group.asked))
        self._ledger.take(turn, predictions)
        self._mirrors.copy(serving, group)
        return predictions

    async def _by_canary(self, serving: Serving, group: ArmGroup, turn: Turn) -> list[Prediction] | None:
        """The canary's answer; None when it failed or was late, so that the stable arm has to stand in."""
        try:
            async with asyncio.timeout(self._canary_seconds):
                # Nothing stands in for its servers but the stable arm.
                return await _ask(serving.of("canary"), "canary", self._parts.strict, group)
        except Exception as error:  # Whatever it is, nobody but the canary may suffer from it.
            turn.stop(failed=True)
            if turn.told:
                why = f"{reason(error)} after at most {self._canary_seconds:g} s"
                logger.warning("canary %s: %s; the stable arm stands in", serving.split.canary, why)
            return None

    async def _by_stable(self, live: LiveGeneration, group: ArmGroup) -> list[Prediction]:
        try:
            return await _ask(live, "stable", self._parts, group)
        except NotHeldError:
            # The tower may have let go of it because another one was released: then that one answers, from the start.
            with suppress(TimeoutError):  # It is looked for as long as the caller waits, which a log may not care for.
                await asyncio.wait_for(self._generations.refresh(), remaining())
            newer = self._generations.require().stable
            # Where it still is the same one, the tower has lost it, by a restart, say.
            return await _ask(newer, "stable", self._parts, group, held=False)


async def _ask(live: LiveGeneration, arm: Arm, parts: Parts, group: ArmGroup, *, held: bool = True) -> list[Prediction]:
    group.check(live)
    with about(arm=arm, generation=live.id):
        return await answer_by(live, arm, parts, group.asked, held=held)
