"""A request's way through recall: each user is answered by the generation of one arm, and by nothing else.

It goes straight down, a module a step, and comes back the same way:

app               the body is read into instances
service           here: admitted, cut into arm groups, and started with a cohort of requests
arm_answers       a group is answered by its arm; the stable arm stands in for a canary
generation        a `Lookup` of each user begins: the request as the generation reads it, its filter a typed `Filter`
answer            one generation: its stages, one after the other
store_stage       what is known of each user, from the online store
tower_stage       vectors, from the user tower
channels          candidates, from item search or what else there is; merged into items
preranking        the order of these, where the generation has a pre-ranker
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pagoda.errors import RequestError
from pagoda.rollout.measures.outcomes import TakenEvent
from serving.http import callers
from serving.http.callers import Caller
from serving.recall.api import FirstItems, Prediction, RecallInstance, check_values
from serving.recall.generations.follower import Generations, Serving
from serving.recall.metrics import IN_FLIGHT
from serving.recall.request.admission import UNBOUNDED, Admission
from serving.recall.request.arm_answers import ArmAnswers
from serving.recall.request.arm_group import ArmGroup, groups_of
from serving.recall.request.cohorts import Cohorts
from serving.recall.request.outcomes import Ledger
from serving.recall.request.parts import Parts
from serving.recall.servers.company import company
from serving.receipts import Receipts

_GROUPS_AT_ONCE = 8
"""Of one request. More would not get further: see `Cohorts`."""
_HANGUP_SECONDS = 0.001
"""After which whoever sent much and hung up at once is seen to have left: the end comes right behind the request."""


class Recall:
    """Answers requests by what serves now."""

    def __init__(
        self,
        parts: Parts,
        generations: Generations,
        ledger: Ledger,
        *,
        canary_seconds: float,
        receipts: Receipts | None = None,
        admission: Admission = UNBOUNDED,
        cohorts_at_once: int = 1 << 30,
    ) -> None:
        """Nothing is asked yet.

        Args:
            parts: What requests go through.
            generations: What serves.
            ledger: Takes down what became of each user.
            canary_seconds: How long the canary arm may take before the stable arm answers in its place.
            receipts: Gives answers theirs; None: they have none.
            admission: Says who has to come back later.
            cohorts_at_once: How many cohorts of requests are under way; see `Cohorts`.
        """
        self._generations, self._ledger, self._admission = generations, ledger, admission
        self._onboarding = parts.onboarding
        self._cohorts = Cohorts(cohorts_at_once)
        self._arms = ArmAnswers(parts, generations, ledger, canary_seconds, receipts)

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
        check_values(asked)
        serving = self._generations.require()
        by_arm = groups_of(serving, asked, header)
        cost = sum(group.cost for group in by_arm)
        with IN_FLIGHT.track_inprogress(), self._admission.admitted(caller.client, cost):
            groups = [part for group in by_arm for part in group.slices()]
            if len(groups) == 1:
                return await self._in_cohort(serving, groups[0], caller)
            return await self._by_groups(serving, groups, caller)

    async def _in_cohort(self, serving: Serving, group: ArmGroup, caller: Caller) -> list[Prediction]:
        async with self._cohorts.joined(caller, group.cost) as alone:
            await asyncio.sleep(0)  # Where nothing has to be waited for, others would never have a turn.
            with company(there=not alone or len(group.asked) > 1):
                return await self._arms.answer(serving, group)

    async def _by_groups(self, serving: Serving, groups: Sequence[ArmGroup], caller: Caller) -> list[Prediction]:
        await asyncio.sleep(_HANGUP_SECONDS)
        if caller.gone:
            raise RequestError("the caller has left")
        answers: dict[int, Prediction] = {}
        left = iter(groups)

        async def work() -> None:
            for group in left:
                predictions = await self._in_cohort(serving, group, caller)
                answers.update(zip(group.places, predictions, strict=True))

        # What fails leaves nothing under way that nobody waits for.
        ends = await asyncio.gather(*(work() for _ in groups[:_GROUPS_AT_ONCE]), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return [answers[place] for place in range(len(answers))]

    def onboarding(self, count: int) -> FirstItems:
        """What to show first to whom nothing is known of, by the stable generation.

        Raises:
            RequestError: It says nothing of that.
            UnavailableError: Nothing serves yet, or its list could not be read.
        """
        live = self._generations.require().stable
        return {"items": self._onboarding.first(live, count), "generation": live.id}

    def note(self, events: Sequence[TakenEvent]) -> None:
        """Take down what users did."""
        if self._generations.ready:
            self._ledger.note(self._generations.require().split, events)

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._arms.close()
