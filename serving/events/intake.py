"""Taking events: checked, then handed to the stream, which keeps them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from serving.events.bodies import EventsAnswer, SentEvent
from serving.events.metrics import EVENTS, SECONDS
from serving.events.redis_stream import EventStream, FullError
from serving.events.rules import USUAL_TIMES, Accepted, EventRules, Times
from serving.receipts import Receipts


class SpecSource(Protocol):
    """Says what events of this installation look like."""

    async def spec(self) -> FeatureSpec:
        """The feature declaration in force.

        Raises:
            UnavailableError: There is none yet.
        """


class EventIntake:
    """Takes events. Safe to share between requests."""

    def __init__(
        self,
        stream: EventStream,
        specs: SpecSource,
        times: Times = USUAL_TIMES,
        receipts: Receipts | None = None,
    ) -> None:
        """Make one.

        Args:
            stream: Where events go; closed with this.
            specs: What events are checked against.
            times: When events may have happened.
            receipts: Reads those that answers had; None: they have none.
        """
        self._times, self._receipts = times, receipts
        self._stream, self._specs = stream, specs
        self._rules: EventRules | None = None

    async def close(self) -> None:
        """Close the stream's connections."""
        await self._stream.close()

    async def take(self, events: Sequence[SentEvent]) -> EventsAnswer:
        """Append events to the stream; all of them or none.

        When it returns, they survive any crash of a process; what a power loss costs is in docs/events.md.

        Raises:
            RequestError: One cannot be taken; the message names the field.
            UnavailableError: The stream does not take them now, or does not answer: then it may have taken them, so
                they should be sent again under the same IDs.
        """
        rules = await self._current_rules()
        now_us = time.time_ns() // 1000
        accepted = [
            rules.accept(event, f"events.{place}." if len(events) > 1 else "", now_us)
            for place, event in enumerate(events)
        ]
        with SECONDS.time():
            taken = await self._append(accepted)
        EVENTS.labels("taken").inc(taken)
        EVENTS.labels("duplicate").inc(len(events) - taken)
        ids = [one.row["event_id"] for one in accepted]
        return {"event_ids": ids, "taken": taken, "duplicates": len(events) - taken}

    async def _append(self, accepted: Sequence[Accepted]) -> int:
        try:
            return await self._stream.append(accepted)
        except UnavailableError as error:
            EVENTS.labels("shed" if isinstance(error, FullError) else "unavailable").inc(len(accepted))
            raise

    async def _current_rules(self) -> EventRules:
        spec = await self._specs.spec()
        # The same object as long as the log brings nothing new, so nothing is compared for each request.
        if self._rules is None or self._rules.spec is not spec:
            self._rules = EventRules(spec, self._times, self._receipts)
        return self._rules
