"""Writing down what became of users, for the gates of a rollout: once a second, into the stream that drivers read."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pagoda.rollout.measures.outcomes import (
    APPEND,
    PLACE,
    ROW,
    SIZE,
    STREAM,
    Flag,
    OutcomeBatch,
    PlacedClick,
    user_hash,
)
from pagoda.rollout.state.split import Split
from serving.background import every
from serving.error_reasons import reason
from serving.recall.api import Prediction
from serving.recall.fallback.steps import NOT_OF_THE_TOWERS
from serving.recall.metrics import OUTCOMES
from serving.recall.request.arm_timing import ArmTiming

FLUSH_SECONDS = 0.5
MOST_PENDING = 50_000
"""Rows that may wait for the next flush, about 10 MB; further ones are dropped."""
_Row = tuple[int, int, float, int]
logger = logging.getLogger(__name__)


def _is_fallback(answer: Prediction, channels: frozenset[str]) -> bool:
    """Whether it is not what the arm's parts are for: something stood in, or one of its channels gave nothing."""
    if not NOT_OF_THE_TOWERS.isdisjoint(answer["degraded"]):
        return True
    # Users of whom a channel knows nothing are in both arms alike.
    return bool(channels) and not channels.issubset(
        name for item in answer["items"] for name in item.get("channels", ())
    )


class Ledger(Protocol):
    """Takes down what became of users. Its calls neither wait nor fail."""

    def take(self, timing: ArmTiming, predictions: Sequence[Prediction] | None = None) -> None:
        """What an arm did to its users; without predictions they got no answer."""

    def clicked(self, split: Split, clicks: Sequence[PlacedClick]) -> None:
        """Positive events that have just come in."""


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
        self._pending: defaultdict[Split, list[_Row]] = defaultdict(list)
        self._places: defaultdict[Split, list[tuple[int, float]]] = defaultdict(list)
        """Of the clicks among the rows."""
        self._count = 0
        self._complaint = ""

    def take(self, timing: ArmTiming, predictions: Sequence[Prediction] | None = None) -> None:
        """See `Ledger.take`."""
        if not timing.split.rollout or not timing.group.counted or not timing.told:
            return
        common = Flag.FAILED * timing.failed | Flag.CANARY * (timing.group.arm == "canary")
        now_us = time.time_ns() // 1000
        rows = []
        for number, one in enumerate(timing.group.asked):
            flags = common if number else common | Flag.REQUEST
            if predictions is not None:
                flags |= Flag.ANSWERED | Flag.SHORT * (len(predictions[number]["items"]) < one.k)
                flags |= Flag.FALLBACK * _is_fallback(predictions[number], timing.compared_channels)
            rows.append((now_us, user_hash(one.user_id), timing.ms, int(flags)))
        self._add(timing.split, rows)

    def clicked(self, split: Split, clicks: Sequence[PlacedClick]) -> None:
        """See `Ledger.clicked`."""
        if not split.rollout or not clicks:
            return
        now_us = time.time_ns() // 1000
        rows = [(now_us, user_hash(one.user), 0.0, int(Flag.CLICK)) for one in clicks]
        if self._add(split, rows):
            self._places[split] += [(one.position, one.propensity) for one in clicks]

    async def follow(self) -> None:
        """Write what came in, until cancelled; then the rest."""
        try:
            await every(FLUSH_SECONDS, self.flush)
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. What Redis does not take is dropped: a driver that cannot measure holds its rollout."""
        pending, self._pending, self._count = self._pending, defaultdict(list), 0
        places, self._places = self._places, defaultdict(list)
        for split, rows in pending.items():
            stood = np.array(places[split], PLACE)
            try:
                await self._write(OutcomeBatch(split.rollout, split.percent, split.shadow, np.array(rows, ROW), stood))
            except (RedisError, OSError) as error:
                OUTCOMES.labels("dropped").inc(len(rows))
                self._complain(f"outcomes: {reason(error)}")
            else:
                OUTCOMES.labels("written").inc(len(rows))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _write(self, batch: OutcomeBatch) -> None:
        fields = [part for pair in batch.encode().items() for part in pair]
        await self._append([STREAM, SIZE], [self._most_bytes, *fields])

    def _add(self, split: Split, rows: Sequence[_Row]) -> bool:
        """Whether there was room for them."""
        if self._count + len(rows) > MOST_PENDING:
            OUTCOMES.labels("dropped").inc(len(rows))
            return False
        self._count += len(rows)
        self._pending[split] += rows
        return True

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.warning("%s; until it takes them, gates see less than there is", complaint)
        self._complaint = complaint
