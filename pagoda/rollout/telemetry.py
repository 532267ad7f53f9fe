"""What the rollout driver tells Prometheus, from each look that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import Counter, Gauge

from pagoda.rollout.driver import Look
from pagoda.rollout.gate_results import GateResult
from pagoda.rollout.state.machine import Phase

LOOKS = Counter("pagoda_rollout_looks", "Looks of the driver at log and servers, by how they ended.", ("outcome",))
LAST_LOOK = Gauge("pagoda_rollout_last_look_timestamp_seconds", "When the driver last looked.")
PHASE = Gauge("pagoda_rollout_phase", "1 for the phase of the latest rollout, 0 for the others.", ("phase",))
SINCE = Gauge("pagoda_rollout_phase_since_timestamp_seconds", "When the phase or the canary step began.")
PERCENT = Gauge("pagoda_rollout_canary_percent", "Users in the canary arm, in percent.")
GATE = Gauge(
    "pagoda_rollout_gate",
    "What a gate measured at the last look: its value, the ends of its interval, and its limit.",
    ("gate", "figure"),
)
PAUSED = Gauge("pagoda_rollout_paused", "1 while the rollout is paused by a person.")
RECORDS = Counter("pagoda_rollout_records", "Records that this driver wrote, by their kind.", ("kind",))
ROLLED_BACK = Counter("pagoda_rollout_rolled_back", "Rollouts that this driver saw rolled back, by a gate or a person.")

_rolled_back: set[str] = set()
"""Rollouts that are counted in it."""


def tell(look: Look) -> None:
    """Export what a look saw and did; a `watch` of `Driver.run`."""
    LOOKS.labels("lost" if look.lost else "trouble" if look.trouble else "ok").inc()
    LAST_LOOK.set_to_current_time()
    if look.decision.event:
        RECORDS.labels(look.decision.event.kind).inc()
    rollout = look.rollout
    _tell_gates(look.decision.gates)
    for phase in Phase:
        PHASE.labels(phase.value).set(rollout is not None and rollout.phase is phase)
    if rollout is None:
        return
    SINCE.set(rollout.since.timestamp())
    PERCENT.set(rollout.percent if rollout.phase is Phase.CANARY else 0)
    PAUSED.set(rollout.paused)
    if rollout.phase is Phase.ROLLED_BACK and rollout.id not in _rolled_back:
        _rolled_back.add(rollout.id)
        ROLLED_BACK.inc()


def _tell_gates(results: Sequence[GateResult]) -> None:
    """Of those that have no figures now, nothing is said any more."""
    GATE.clear()
    for result in results:
        for figure in ("value", "low", "high", "limit"):
            if (number := getattr(result, figure)) is not None:
                GATE.labels(result.gate, figure).set(number)


def silent_unless(leads: Callable[[], bool]) -> bool:
    """Ask `leads`; a driver that does not lead says no more of a rollout, which goes on without it."""
    leading = leads()
    if not leading:
        for phase in Phase:
            PHASE.labels(phase.value).set(0)
        GATE.clear()
        for gauge in (SINCE, PERCENT, PAUSED):
            gauge.set(0)
    return leading
