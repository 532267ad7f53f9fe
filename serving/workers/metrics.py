"""What the workers tell Prometheus."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

STEPS = Counter("pagoda_worker_steps", "Looks at what there is to do, by how they ended.", ("worker", "outcome"))
LAST_SUCCESS = Gauge(
    "pagoda_worker_last_success_timestamp_seconds", "Last look that ended well, or start.", ("worker",)
)

LOG_HEAD = Gauge("pagoda_follower_log_head", "Number of the last record of the release log that was carried out.")
HELD = Gauge("pagoda_follower_generations_held", "Generations that this host holds.")
REFUSED = Gauge("pagoda_follower_generations_refused", "Generations that this host needs and cannot take.")
STABLE_HELD = Gauge("pagoda_follower_stable_held", "1 when this host holds the generation that serves.")
BRING_SECONDS = Histogram(
    "pagoda_follower_bring_seconds",
    "From the first look at a generation until this host holds it.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)

EVENTS = Counter("pagoda_sink_events", "Events written into the dataset.")
WAITING = Gauge("pagoda_sink_waiting_events", "Events in the stream that are not in the dataset yet.")

ITEMS_HEAD = Gauge("pagoda_items_log_head", "Number of the last record of the item log.")
ITEMS_BEHIND = Gauge("pagoda_items_collections_behind", "Live collections that lack a change of the item log.")


class Worker(Protocol):
    """Something that brings one thing in line with another, as far as possible at the moment."""

    def step(self) -> object:
        """Do what there is to do."""


class Counted:
    """A worker whose steps are counted."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._worker, self._name = worker, name
        for outcome in ("ok", "failed"):
            STEPS.labels(name, outcome)
        # As if the start had gone well: of one that never does its work there would be nothing to alert by.
        LAST_SUCCESS.labels(name).set_to_current_time()

    def step(self) -> object:
        """Do what there is to do, and count it."""
        try:
            done = self._worker.step()
        except Exception:
            STEPS.labels(self._name, "failed").inc()
            raise
        STEPS.labels(self._name, "ok").inc()
        LAST_SUCCESS.labels(self._name).set_to_current_time()
        return done
