"""What both arms did, measured from the stream of outcomes that the recall service writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from redis import Redis
from redis.exceptions import RedisError

from pagoda.data.window import to_us
from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.arms import ARMS
from pagoda.rollout.measures.base import ArmMeasure, Counts, Measures, Requests
from pagoda.rollout.measures.counted_rows import counted_rows, row_type
from pagoda.rollout.measures.mixture_sums import MixtureTable
from pagoda.rollout.measures.outcomes import STREAM, Flag, OutcomeBatch, Rows
from pagoda.rollout.measures.user_sums import UserTable
from pagoda.rollout.online_gates import OnlineGates

WINDOW_US = 5_000_000
SETTLING_US = 2_000_000
"""A window is closed when it has been over for so long: by then its rows are in the stream."""
_CLOCKS_MS = 60_000
"""How far the clocks of services, Redis and driver may be apart."""
_PAGE = 500
_FINEST_MS, _RATIO, _BUCKETS = 0.01, 1.02, 900
"""Latencies are counted in buckets that grow by 2 %, from 10 µs to nine minutes."""
_USUAL = OnlineGates()
_Asked = tuple[str, int, float | None, OnlineGates, tuple[str, ...]]
"""Rollout, µs since when, limit of latencies in ms, gates and channels; see `Metrics.measure`."""
_log = logging.getLogger(__name__)


class StreamMetrics:
    """Implements `Metrics`. What it has read it keeps as sums, so each look reads what is new; another process, or the
    next one, reads the stream from the start of the phase and comes to the same."""

    def __init__(self, url: str, timeout_seconds: float = 5.0) -> None:
        """Nothing is read yet from `redis://host:port/db`."""
        self._redis = Redis.from_url(url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)
        self._url = url
        self._phase: PhaseSums | None = None

    def measure(
        self,
        rollout: str,
        since: datetime,
        until: datetime,
        limit_ms: float | None,
        gates: OnlineGates = _USUAL,
        *,
        channels: tuple[str, ...] = (),
    ) -> Measures:
        """See `Metrics.measure`."""
        phase, asked = self._phase, (rollout, to_us(since), limit_ms, gates, channels)
        if phase is None or not phase.goes_on(asked, to_us(until)):
            phase = PhaseSums(*asked)
        self._phase = None  # Should the reading end half way, the next look starts anew.
        try:
            for page in self._pages(phase):
                for fields in page:
                    phase.add(fields)
                phase.close(to_us(until))
        except (RedisError, OSError) as error:
            raise UnavailableError(f"outcomes at {self._url}: {error}") from error
        self._phase = phase
        return phase.measures()

    def _pages(self, phase: PhaseSums) -> Iterator[list[dict[bytes, Any]]]:
        while True:
            page: Any = self._redis.xrange(STREAM, min=phase.next_entry, count=_PAGE)
            if page:
                phase.next_entry = f"({page[-1][0].decode()}"
            yield [fields for _, fields in page]
            if len(page) < _PAGE:
                return


class PhaseSums:
    """Sums over one phase of a rollout."""

    def __init__(
        self,
        rollout: str,
        since_us: int,
        limit_ms: float | None,
        gates: OnlineGates = _USUAL,
        channels: tuple[str, ...] = (),
    ) -> None:
        self._key: _Asked = (rollout, since_us, limit_ms, gates, channels)
        self.next_entry = f"{max(since_us // 1000 - _CLOCKS_MS, 0)}-0"
        self._stage = (False, 0)
        self._clear()

    def _clear(self) -> None:
        self._closed = 0
        self._waiting: list[Rows] = []
        self._windows = np.zeros((len(ARMS), 3, 0), np.int64)
        self._latency = np.zeros((len(ARMS), _BUCKETS), np.int64)
        *_, gates, channels = self._key
        self._users = UserTable(cap=gates.weights.cap if gates.weights else None, outcomes=len(gates.outcomes))
        self._mixtures = MixtureTable(channels)

    def goes_on(self, asked: _Asked, until_us: int) -> bool:
        """Whether these sums are the beginning of those that are asked for, by what `PhaseSums` is made of."""
        return self._key == asked and self._closed <= _windows(asked[1], until_us)

    def add(self, fields: dict[bytes, Any]) -> None:
        """Take in an entry of the stream, if it is of this phase."""
        rollout, since_us, _, gates, _ = self._key
        try:
            batch = OutcomeBatch.decode(fields)
            if batch.rollout != rollout or batch.stage < self._stage:
                return
            rows = counted_rows(batch, gates)
        except IntegrityError as error:
            _log.warning("%s; it is left out", error)
            return
        if batch.stage > self._stage:
            # What came before is of services that had not yet seen the record that began the phase: some of their
            # users were in the other arm.
            self._stage = batch.stage
            self._clear()
        self._waiting.append(rows[rows["time_us"] >= since_us])
        self._mixtures.add(batch, since_us)

    def close(self, until_us: int) -> None:
        """Sum up the rows of the windows that are closed at a moment."""
        _, since_us, limit_ms, gates, _ = self._key
        self._closed = _windows(since_us, until_us)
        rows = np.concatenate([np.zeros(0, row_type(gates)), *self._waiting])
        over = rows["time_us"] < since_us + self._closed * WINDOW_US
        self._waiting = [rows[~over]]
        self._windows = np.pad(self._windows, ((0, 0), (0, 0), (0, self._closed - self._windows.shape[2])))
        if not over.any():
            return
        shadow = not self._stage[0] and self._stage[1] > 0
        self._users.add(rows[over], shadow)
        self._count(rows[over & (rows["flags"] & Flag.REQUEST > 0)], since_us, limit_ms)

    def _count(self, requests: Rows, since_us: int, limit_ms: float | None) -> None:
        window = (requests["time_us"] - since_us) // WINDOW_US
        arm = (requests["flags"] & Flag.CANARY).astype(np.intp)
        bad = requests["flags"] & Flag.FAILED > 0
        slow = requests["ms"] > (np.inf if limit_ms is None else limit_ms)
        for number, counted in enumerate((np.ones(len(requests), bool), bad, slow)):
            np.add.at(self._windows[:, number], (arm, window), counted)
        buckets = np.log(np.maximum(requests["ms"], _FINEST_MS) / _FINEST_MS) / np.log(_RATIO)
        np.add.at(self._latency, (arm, np.minimum(buckets.astype(np.intp), _BUCKETS - 1)), 1)

    def measures(self) -> Measures:
        """Of both arms, over all closed windows."""
        return {arm: self._measure(number) for number, arm in enumerate(ARMS)}

    def _measure(self, arm: int) -> ArmMeasure:
        total, errors, slow = self._windows[arm]
        return ArmMeasure(
            Requests(total, errors, slow, _p99(self._latency[arm])),
            *self._users.sums(arm),
            outcomes=self._users.outcomes(arm),
            channels=self._mixtures.sums(arm),
        )


def _windows(since_us: int, until_us: int) -> int:
    """How many windows are closed."""
    return max(0, (until_us - SETTLING_US - since_us) // WINDOW_US)


def _p99(latency: Counts) -> float | None:
    """Upper end of the bucket that holds the 99th percentile."""
    if not latency.any():
        return None
    bucket = int(np.searchsorted(latency.cumsum(), 0.99 * latency.sum()))
    return float(_FINEST_MS * _RATIO ** (bucket + 1))
