"""What the recall service tells Prometheus, by arm, so that arms can be compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Self

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

STAGES = Histogram(
    "pagoda_recall_stage_seconds", "Time of each stage of a request.", ("arm", "stage"), buckets=_BUCKETS
)
REQUESTS = Counter("pagoda_recall_requests", "Requests by how they ended.", ("protocol", "outcome"))
ANSWERS = Counter("pagoda_recall_answers", "Users answered.", ("arm", "generation"))
UNKNOWN_USERS = Counter("pagoda_recall_unknown_users", "Users without an ID row of their own.", ("arm", "generation"))
SHORT_ANSWERS = Counter("pagoda_recall_short_answers", "Answers with too few items.", ("arm", "generation"))
SECONDS = Histogram(
    "pagoda_recall_arm_seconds",
    "Time that an arm took, or was waited for.",
    ("arm", "generation"),
    buckets=_BUCKETS,
)
ERRORS = Counter(
    "pagoda_recall_arm_errors",
    "Users whom their arm failed, or was too late for.",
    ("arm", "generation", "reason"),
)
FALLBACKS = Counter(
    "pagoda_recall_arm_fallbacks",
    "Users whom the stable arm answered in place of their own.",
    ("arm", "generation"),
)
DEGRADED = Counter(
    "pagoda_recall_degraded_answers", "Users whose answer something stood in for.", ("arm", "generation", "step")
)
CHANNEL_ITEMS = Counter(
    "pagoda_recall_channel_items",
    "Items of answers, each by the first channel that had it.",
    ("arm", "generation", "channel"),
)
CHANNEL_CANDIDATES = Counter(
    "pagoda_recall_channel_candidates", "Candidates that channels gave.", ("arm", "generation", "channel")
)
BREAKERS = Gauge("pagoda_recall_breaker_state", "0: closed, 1: half open, 2: open.", ("server",))
SHADOW_COPIES = Counter(
    "pagoda_recall_mirrored_requests", "Copies of requests for a shadow, by how they ended.", ("outcome",)
)
OUTCOMES = Counter("pagoda_recall_outcomes", "Rows for the gates of a rollout, by what became of them.", ("outcome",))
IN_FLIGHT = Gauge("pagoda_recall_requests_in_flight", "Requests being answered; what the service is scaled by.")
SHARE = Gauge("pagoda_recall_arm_share", "Share of the users in an arm.", ("arm", "generation"))
WINDOW_END = Gauge(
    "pagoda_recall_generation_window_end_timestamp_seconds", "End of the data that an arm has learned.", ("arm",)
)
_BY_CHANNEL = CHANNEL_ITEMS, CHANNEL_CANDIDATES
_BY_GENERATION = (ANSWERS, UNKNOWN_USERS, SHORT_ANSWERS, SECONDS, ERRORS, FALLBACKS, DEGRADED, *_BY_CHANNEL)


def forget(generations: Collection[str]) -> None:
    """Drop the series of generations that serve no more; an installation sees a new one every few minutes."""
    for metric in _BY_GENERATION:
        for id_ in generations:
            metric.remove_by_labels({"generation": id_})
    for series in (answers_of, seconds_of, items_of, candidates_of):
        series.cache_clear()


# What each request counts: series that are looked up take longer to find than to count.
requests_of, answers_of, seconds_of = lru_cache(REQUESTS.labels), lru_cache(ANSWERS.labels), lru_cache(SECONDS.labels)
items_of, candidates_of = lru_cache(CHANNEL_ITEMS.labels), lru_cache(CHANNEL_CANDIDATES.labels)
_stage = lru_cache(STAGES.labels)


def afterwards(tell: Callable[..., object], *about: object) -> None:
    """Count something when the answer is on its way, for which nobody is to wait: in the loop's next turn, which comes
    after what this one has to write."""
    asyncio.get_running_loop().call_soon(tell, *about)


class Stopwatch:
    """Times the stages of one request, for the block that they are done in."""

    def __init__(self, arm: str) -> None:
        self._arm = arm
        self._start = self._lap = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.perf_counter()
        self._seconds[stage], self._lap = now - self._lap, now

    def stop(self) -> dict[str, float]:
        """End the request and return the milliseconds of each stage and of all."""
        self._seconds["total"] = time.perf_counter() - self._start
        return {stage: round(1000 * seconds, 3) for stage, seconds in self._seconds.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Have Prometheus told of all stages that came to an end."""
        afterwards(self._tell)

    def _tell(self) -> None:
        for stage, seconds in self._seconds.items():
            _stage(self._arm, stage).observe(seconds)
