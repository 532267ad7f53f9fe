"""What the recall service tells Prometheus, by arm, so that arms can be compared."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import lru_cache

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
_BY_GENERATION = (ANSWERS, UNKNOWN_USERS, SHORT_ANSWERS, SECONDS, ERRORS, FALLBACKS, DEGRADED)


def forget(generations: Collection[str]) -> None:
    """Drop the series of generations that serve no more; an installation sees a new one every few minutes."""
    for metric in _BY_GENERATION:
        for id_ in generations:
            metric.remove_by_labels({"generation": id_})


# Their series are few and stay, so they need not be looked up each time.
_stage = lru_cache(STAGES.labels)


class Stopwatch:
    """Times the stages of one request."""

    def __init__(self, arm: str) -> None:
        self._arm = arm
        self._start = self._lap = time.perf_counter()
        self.milliseconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.perf_counter()
        self._record(stage, now - self._lap)
        self._lap = now

    def stop(self) -> dict[str, float]:
        """End the request and return the milliseconds of each stage and of all."""
        self._record("total", time.perf_counter() - self._start)
        return self.milliseconds

    def _record(self, stage: str, seconds: float) -> None:
        _stage(self._arm, stage).observe(seconds)
        self.milliseconds[stage] = round(seconds * 1000, 3)
