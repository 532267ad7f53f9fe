"""An arm group's answer: by its arm's generation; where a canary cannot, by the stable arm in its place.

Whatever becomes of the users is told to the metrics and, for the gates of a rollout, to the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from pagoda.errors import NotHeldError, RequestError
from pagoda.generations.arms import Arm
from serving.error_reasons import reason
from serving.http.deadlines import remaining
from serving.logs import about
from serving.recall.api import Prediction
from serving.recall.explanation.arm import explained_arm
from serving.recall.fallback.steps import OF_NO_SERVER
from serving.recall.generations.follower import Generations, Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.metrics import FALLBACKS
from serving.recall.request.answer import answer_by
from serving.recall.request.arm_group import ArmGroup
from serving.recall.request.arm_timing import ArmTiming
from serving.recall.request.outcomes import Ledger
from serving.recall.request.parts import Parts
from serving.recall.request.shadow import Shadow
from serving.receipts import Receipts

logger = logging.getLogger(__name__)


class ArmAnswers:
    """Answers arm groups."""

    def __init__(
        self,
        parts: Parts,
        generations: Generations,
        ledger: Ledger,
        canary_seconds: float,
        receipts: Receipts | None = None,
    ) -> None:
        """Nothing is asked yet; see `Recall`."""
        self._receipts = receipts
        self._parts, self._strict, self._generations, self._ledger = parts, parts.strict, generations, ledger
        self._canary_seconds = canary_seconds
        self._shadow = Shadow(self._strict, ledger, canary_seconds)

    async def answer(self, serving: Serving, group: ArmGroup) -> list[Prediction]:
        """Answer a group's users, in its order.

        Raises:
            PagodaError: See `Recall.answer`.
        """
        timing = ArmTiming(serving, group, self._canary_seconds)
        own = await self._by_canary(serving, group, timing) if group.arm == "canary" else None
        try:
            predictions = own or await self._by_stable(serving.stable, group, timing)
        except RequestError:
            raise  # The caller's fault, and no arm's.
        except Exception:
            timing.stop(failed=True)
            timing.count()
            self._ledger.take(timing)
            raise
        # What stood in for a server of the stable arm would have failed a canary, for which nothing does.
        timing.stop(failed=any(not OF_NO_SERVER.issuperset(one["degraded"]) for one in predictions))
        timing.count()
        if own is None and group.arm == "canary" and timing.told:
            FALLBACKS.labels("canary", str(serving.split.canary)).inc(len(group.asked))
        self._ledger.take(timing, predictions)
        self._shadow.copy(serving, group)
        if group.explained:
            await self._explain(serving, group, timing, predictions)
        # Of both arms by the stable one's declaration, which events are checked against.
        if self._receipts and serving.stable.spec.receipts:
            _give(self._receipts, group, predictions)
        return predictions

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._shadow.close()

    async def _by_canary(self, serving: Serving, group: ArmGroup, timing: ArmTiming) -> list[Prediction] | None:
        """The canary's answer; None when it failed or was late, so that the stable arm has to stand in."""
        try:
            async with asyncio.timeout(self._canary_seconds):
                # Nothing stands in for its servers but the stable arm.
                return await _ask(serving.of("canary"), "canary", self._strict, group, timing)
        except Exception as error:  # Whatever it is, nobody but the canary may suffer from it.
            timing.stop(failed=True)
            if timing.told:
                why = f"{reason(error)} after at most {self._canary_seconds:g} s"
                logger.warning("canary %s: %s; the stable arm stands in", serving.split.canary, why)
            return None

    async def _explain(
        self, serving: Serving, group: ArmGroup, timing: ArmTiming, predictions: list[Prediction]
    ) -> None:
        if timing.live is None:  # Nothing answered, and there is nobody to explain it to.
            return
        for lookup, one in zip(timing.lookups, predictions, strict=True):
            user = lookup.instance.user_id
            arm = explained_arm(serving, user, group.arm, one, group.header)
            one["explanation"] = await self._parts.explainer.explain(timing.live, lookup, arm)

    async def _by_stable(self, live: LiveGeneration, group: ArmGroup, timing: ArmTiming) -> list[Prediction]:
        try:
            return await _ask(live, "stable", self._parts, group, timing)
        except NotHeldError:
            # The tower may have let go of it because another one was released: then that one answers, from the start.
            with suppress(TimeoutError):  # It is looked for as long as the caller waits, which a log may not care for.
                await asyncio.wait_for(self._generations.refresh(), remaining())
            newer = self._generations.require().stable
            # Where it still is the same one, the tower has lost it, by a restart, say.
            return await _ask(newer, "stable", self._parts, group, timing, held=False)


def _give(receipts: Receipts, group: ArmGroup, predictions: Sequence[Prediction]) -> None:
    for asked, one in zip(group.asked, predictions, strict=True):
        one["receipt"] = receipts.give(asked.user_id, one["arm"], one["generation"], one["items"])


async def _ask(
    live: LiveGeneration, arm: Arm, parts: Parts, group: ArmGroup, timing: ArmTiming, *, held: bool = True
) -> list[Prediction]:
    timing.live, timing.lookups = live, group.begin(live)
    with about(arm=arm, generation=live.id):
        return await answer_by(live, arm, parts, timing.lookups, held=held)
