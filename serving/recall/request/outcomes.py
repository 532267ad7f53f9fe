"""Writing down what became of users, for the gates of a rollout: once a second, into the stream that drivers read."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pagoda.channels.merging import EXPLORE
from pagoda.rollout.measures.outcomes import (
    APPEND,
    PLACE,
    RESPONSE,
    ROW,
    SIZE,
    STREAM,
    Flag,
    OutcomeBatch,
    TakenEvent,
    user_hash,
)
from pagoda.rollout.state.split import Split
from serving.background import every
from serving.error_reasons import reason
from serving.recall.api import Prediction
from serving.recall.fallback.steps import FALLBACKS
from serving.recall.lookup import Lookup
from serving.recall.metrics import OUTCOMES
from serving.recall.request.arm_timing import ArmTiming

FLUSH_SECONDS = 0.5
MOST_PENDING = 50_000
"""Rows that may wait for the next flush, about 10 MB; further ones are dropped."""
_Row = tuple[int, int, float, int]
_Place = tuple[int, float]
_EXPLORED = [EXPLORE]
"""Channels of an item that was tried out: no choice of the arm's own."""
logger = logging.getLogger(__name__)


def is_fallback(answer: Prediction, lookup: Lookup, channels: frozenset[str]) -> bool:
    """Whether it is not what the arm's parts are for: something stood in, or one of its channels gave nothing.

    What a pre-ranker leaves out, or a text puts before it, a channel gave all the same.
    """
    if not FALLBACKS.isdisjoint(answer["degraded"]):
        return True
    # Users of whom a channel knows nothing are in both arms alike.
    return bool(channels) and not channels.issubset(name for item in lookup.merged for name in item["channels"])


def given_by(lookup: Lookup, channels: Sequence[str]) -> list[tuple[float, float]]:
    """What each channel gave, as `Mixtures` has it: an item counts for the first of these that had it, and not for
    others, of which one arm may have more."""
    first = (next((one for one in item["channels"] if one in channels), "") for item in lookup.merged)
    gave, items = Counter(first), max(len(lookup.merged), 1)
    return [(gave[one] / items, min(lookup.given.get(one, 0) / lookup.depth, 1.0)) for one in channels]


def _place_of(event: Mapping[str, Any]) -> _Place:
    """Where its item stood, as `PLACE` has it."""
    if "position" not in event or event.get("channels") == _EXPLORED:
        return 0, 0.0
    return event["position"], event.get("propensity", 1.0)


class Ledger(Protocol):
    """Takes down what became of users. Its calls neither wait nor fail."""

    def take(self, timing: ArmTiming, predictions: Sequence[Prediction] | None = None) -> None:
        """What an arm did to its users; without predictions they got no answer."""

    def note(self, split: Split, events: Sequence[TakenEvent]) -> None:
        """Events that have just come in."""


@dataclass(slots=True)
class _Waiting:
    """What an entry of the stream is to say; see `OutcomeBatch`."""

    rows: list[_Row] = field(default_factory=list)
    places: list[_Place] = field(default_factory=list)
    responses: list[tuple[int, int, float]] = field(default_factory=list)
    mixtures: list[list[tuple[float, float]]] = field(default_factory=list)

    def add(self, more: _Waiting) -> None:
        """Append another's."""
        self.rows += more.rows
        self.places += more.places
        self.responses += more.responses
        self.mixtures += more.mixtures

    def batch(self, split: Split, channels: tuple[str, ...]) -> OutcomeBatch:
        """The entry."""
        return OutcomeBatch(
            split.rollout,
            split.percent,
            split.shadow,
            np.array(self.rows, ROW),
            np.array(self.places, PLACE),
            np.array(self.responses, RESPONSE),
            channels,
            np.array(self.mixtures, np.float16).reshape(len(self.mixtures), len(channels), 2),
        )


class OutcomeWriter:
    """The ledger of a service process; rows wait in memory for half a second.

    Only while a rollout goes on: there is nobody to read them otherwise.
    """

    def __init__(self, url: str, most_bytes: int, timeout_seconds: float = 1.0) -> None:
        """Make a pool of connections to `redis://host:port/db`; none is opened yet.

        Args:
            url: Redis.
            most_bytes: How much of the stream is kept; the oldest goes first.
            timeout_seconds: Of one call. Rows that are not written by then are dropped, and counted.
        """
        self._redis: Redis = Redis.from_url(url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)
        self._append = self._redis.register_script(APPEND)
        self._most_bytes = most_bytes
        self._pending: defaultdict[tuple[Split, tuple[str, ...]], _Waiting] = defaultdict(_Waiting)
        """With the channels that answers are compared by, where some are."""
        self._count = 0
        self._complaint = ""

    def take(self, timing: ArmTiming, predictions: Sequence[Prediction] | None = None) -> None:
        """See `Ledger.take`."""
        if not timing.split.rollout or not timing.group.counted or not timing.told:
            return
        common = Flag.FAILED * timing.failed | Flag.CANARY * (timing.group.arm == "canary")
        now_us, compared = time.time_ns() // 1000, timing.compared_channels
        told, channels = _Waiting(), timing.measured_channels
        for number, one in enumerate(timing.group.asked):
            flags = common if number else common | Flag.REQUEST
            if predictions is not None:
                flags |= Flag.ANSWERED | Flag.SHORT * (len(predictions[number]["items"]) < one.k)
                flags |= Flag.FALLBACK * is_fallback(predictions[number], timing.lookups[number], compared)
                if channels and not timing.failed:
                    told.mixtures.append(given_by(timing.lookups[number], channels))
            told.rows.append((now_us, user_hash(one.user_id), timing.ms, int(flags)))
        self._add(timing.split, channels, told)

    def note(self, split: Split, events: Sequence[TakenEvent]) -> None:
        """See `Ledger.note`."""
        if not split.rollout:
            return
        now_us, told = time.time_ns() // 1000, _Waiting()
        for one in events:
            values = [outcome.value(one.row["event"], one.row) for outcome in split.outcomes]
            if not one.positive and not any(values):
                continue
            user, place = user_hash(one.user), _place_of(one.row)
            if one.positive:
                told.rows.append((now_us, user, 0.0, int(Flag.CLICK)))
                told.places.append(place)
            for number, value in enumerate(values):
                if value:
                    told.rows.append((now_us, user, value, int(Flag.OUTCOME)))
                    told.responses.append((number, *place))
        self._add(split, (), told)

    async def follow(self) -> None:
        """Write what came in, until cancelled; then the rest."""
        try:
            await every(FLUSH_SECONDS, self.flush)
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. What Redis does not take is dropped: a driver that cannot measure holds its rollout."""
        pending, self._pending, self._count = self._pending, defaultdict(_Waiting), 0
        for (split, channels), waiting in pending.items():
            try:
                await self._write(waiting.batch(split, channels))
            except (RedisError, OSError) as error:
                OUTCOMES.labels("dropped").inc(len(waiting.rows))
                self._complain(f"outcomes: {reason(error)}")
            else:
                OUTCOMES.labels("written").inc(len(waiting.rows))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _write(self, batch: OutcomeBatch) -> None:
        told = batch.encode()
        fields = [part for pair in told.items() for part in pair]
        # The script counts the rows alone; what else an entry says must not make the stream larger than it may be.
        size = sum(len(part) for part in told.values() if isinstance(part, bytes))
        await self._append([STREAM, SIZE], [self._most_bytes * batch.rows.nbytes // size, *fields])

    def _add(self, split: Split, channels: tuple[str, ...], told: _Waiting) -> None:
        if self._count + len(told.rows) > MOST_PENDING:
            OUTCOMES.labels("dropped").inc(len(told.rows))
        elif told.rows:
            self._count += len(told.rows)
            self._pending[split, channels].add(told)

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.warning("%s; until it takes them, gates see less than there is", complaint)
        self._complaint = complaint
