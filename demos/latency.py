"""How long recall takes to answer one request after the other."""

from __future__ import annotations

import threading
import time

from pagoda.errors import UnavailableError
from pagoda.load_test.outcomes import Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.report import report_of
from pagoda.load_test.sending import send

WARM_UP_SECONDS, MEASURED_SECONDS, MEASURED_REQUESTS = 5, 20, 500
"""Latency is measured for so many seconds and over so many answers at least: the 99th percentile of few is chance."""
PATIENCE_SECONDS = 300


def measure(url: str, users: list[int], token: str = "") -> dict[str, float]:
    """p50 and p99 in milliseconds at one connection, once the service is warm, and the number of requests.

    Raises:
        UnavailableError: A request failed, or answers took so long that there are too few.
    """
    send(LoadPlan(users, rate=0, seconds=WARM_UP_SECONDS, zipf=0), url, connections=1, token=token)
    plan, start, enough = LoadPlan(users, rate=0, seconds=PATIENCE_SECONDS, zipf=0), time.monotonic(), threading.Event()

    def look(outcomes: Outcomes) -> None:
        if time.monotonic() - start >= MEASURED_SECONDS and len(outcomes.kinds) >= MEASURED_REQUESTS:
            enough.set()

    outcomes = send(plan, url, connections=1, token=token, ending=enough, progress=look)
    report = report_of(plan, outcomes, url, connections=1)
    if report.answered < max(report.requests, MEASURED_REQUESTS):
        raise UnavailableError(
            f"recall at {url}: {report.answered} of {report.requests} requests were answered in {report.seconds:.0f} s"
        )
    return {name: round(report.latency_ms[name], 2) for name in ("p50", "p99")} | {"requests": report.answered}
