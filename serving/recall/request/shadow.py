"""Shadow: copies of requests go to the canary, in the background; its answers are measured and dropped."""

from __future__ import annotations

import asyncio

from serving.http.deadlines import unhurried
from serving.recall.fallback.steps import OF_NO_SERVER
from serving.recall.generations.follower import Serving
from serving.recall.metrics import SHADOW_COPIES
from serving.recall.request.answer import answer_by
from serving.recall.request.arm_group import ArmGroup
from serving.recall.request.arm_timing import ArmTiming
from serving.recall.request.outcomes import Ledger
from serving.recall.request.parts import Parts
from serving.recall.servers.company import company

SHADOW = "shadow"
"""Stands for the arm in the metrics of copies."""
_AT_ONCE = 16
"""Copies under way in a process; further ones are not made, so that a slow canary takes little of it."""


class Shadow:
    """Sends copies."""

    def __init__(self, parts: Parts, ledger: Ledger, deadline_seconds: float) -> None:
        self._parts, self._ledger, self._deadline = parts, ledger, deadline_seconds
        self._under_way: set[asyncio.Task[None]] = set()

    def copy(self, serving: Serving, group: ArmGroup) -> None:
        """Start a copy for those users of a group who are in the shadow's share. Never waits."""
        if not serving.split.shadow or not group.counted or not (serving.canary or serving.refused):
            return
        asked = tuple(one for one in group.asked if serving.split.shadow_of(one.user_id))
        if not asked:
            return
        if len(self._under_way) >= _AT_ONCE:
            SHADOW_COPIES.labels("left out").inc()
            return
        copied = ArmGroup("canary", True, tuple(range(len(asked))), asked)
        # It has the canary's own time: a caller in a hurry, or one who hangs up, must not fail it.
        task = asyncio.create_task(self._send(serving, copied), context=unhurried())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _send(self, serving: Serving, group: ArmGroup) -> None:
        timing, predictions = ArmTiming(serving, group, self._deadline, shadow=True), None
        try:
            # Whoever was asked alone is not so when copies are under way.
            with company(there=True):
                async with asyncio.timeout(self._deadline):
                    live = serving.of("canary")
                    timing.lookups = group.begin(live)
                    predictions = await answer_by(live, SHADOW, self._parts, timing.lookups)
        except Exception:  # The canary's, whatever it is.
            timing.stop(failed=True)
        # As of a canary's answer: what stood in for its own files or servers is not what it is worth.
        timing.stop(failed=any(not OF_NO_SERVER.issuperset(one["degraded"]) for one in predictions or ()))
        timing.count()
        SHADOW_COPIES.labels("failed" if timing.failed else "answered").inc()
        self._ledger.take(timing, predictions)
