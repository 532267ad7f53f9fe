"""A run in numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pagoda.load_test.outcomes import ANSWERED, SHED, Outcomes
from pagoda.load_test.plan import LoadPlan

_PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Second(_Model):
    """The requests that were due in one second of the run."""

    second: int
    due: int
    answered: int
    degraded: int
    p50_ms: float | None
    """None where nothing was answered."""
    p99_ms: float | None


class LoadReport(_Model):
    """What a run found. Latency is that of answered requests, from the moment they were due."""

    url: str
    arrivals: str
    """`poisson`, `constant`, or `closed`: each connection asked again when it had its answer."""
    rate: float
    """Wanted, requests a second; 0 when closed."""
    connections: int
    users: int
    zipf: float
    k: int
    seed: int
    seconds: float
    """From the start to the last end."""
    requests: int
    answered: int
    answered_rps: float
    degraded: int
    degraded_by: dict[str, int]
    shed: int
    """Refused with 503: come back later."""
    errors: int
    """Neither answered nor shed."""
    errors_by: dict[str, int]
    arms: dict[str, int]
    latency_ms: dict[str, float]
    """p50, p95, p99, p99.9, max; empty where nothing was answered."""
    by_second: list[Second]


def report_of(plan: LoadPlan, outcomes: Outcomes, url: str, connections: int) -> LoadReport:
    """Sum up a run."""
    due, seconds, answered, degraded = outcomes.arrays()
    shed_kind = f"HTTP {SHED}"
    wrong = Counter(kind for kind in outcomes.kinds if kind not in (ANSWERED, shed_kind))
    length = float((due + seconds).max()) if len(due) else 0.0
    return LoadReport(
        url=url,
        arrivals=plan.arrivals if plan.rate else "closed",
        rate=plan.rate,
        connections=connections,
        users=len(plan.users),
        zipf=plan.zipf,
        k=plan.k,
        seed=plan.seed,
        seconds=round(length, 3),
        requests=len(due),
        answered=int(answered.sum()),
        answered_rps=round(float(answered.sum()) / length, 1) if length else 0.0,
        degraded=int(degraded.sum()),
        degraded_by=dict(outcomes.marks.most_common()),
        shed=outcomes.kinds.count(shed_kind),
        errors=wrong.total(),
        errors_by=dict(wrong.most_common()),
        arms=dict(outcomes.arms.most_common()),
        latency_ms=_latency(seconds[answered]),
        by_second=_by_second(due, seconds, answered, degraded),
    )


def _latency(seconds: NDArray[np.float64]) -> dict[str, float]:
    if not len(seconds):
        return {}
    found = {name: float(np.percentile(seconds, share)) for name, share in _PERCENTILES.items()}
    return {name: round(value * 1e3, 3) for name, value in {**found, "max": float(seconds.max())}.items()}


def _by_second(
    due: NDArray[np.float64], seconds: NDArray[np.float64], answered: NDArray[np.bool_], degraded: NDArray[np.bool_]
) -> list[Second]:
    found = []
    for second in range(int(due[-1]) + 1 if len(due) else 0):
        part = slice(*np.searchsorted(due, [second, second + 1]))
        latency = _latency(seconds[part][answered[part]])
        found.append(
            Second(
                second=second,
                due=part.stop - part.start,
                answered=int(answered[part].sum()),
                degraded=int(degraded[part].sum()),
                p50_ms=latency.get("p50"),
                p99_ms=latency.get("p99"),
            )
        )
    return found
