"""Rollouts: the one that runs with its gates as intervals, and those of the past."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pagoda.errors import ConflictError, RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout import commands
from pagoda.rollout.commands import overruled
from pagoda.rollout.curves.reading import gate_curves
from pagoda.rollout.curves.samples import GateSamples
from pagoda.rollout.gate_results import GateResult
from pagoda.rollout.showing import DECIDED, as_json, past_as_json, see
from pagoda.rollout.state.history import rollouts
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.settings import Settings
from serving.console.curves import drawn_curves

_LISTED = 100
_MARGIN = 0.08
"""Of an interval's drawing, left and right."""
_Act = Callable[[ReleaseLog, str, str], Rollout]
ACTS: Mapping[str, _Act] = {
    "pause": lambda log, by, reason: commands.pause(log, by=by, reason=reason),
    "resume": lambda log, by, _: commands.resume(log, by=by),
    "promote": lambda log, by, reason: commands.force(log, by=by, reason=reason),
    "abort": lambda log, by, reason: commands.abort(log, by=by, reason=reason),
}


def past(log: ReleaseLog) -> Mapping[str, Any]:
    """The latest rollouts, newest first.

    Raises:
        UnavailableError: The release log does not answer.
    """
    found = rollouts(log)
    return {"rollouts": [past_as_json(one) for one in found[: -_LISTED - 1 : -1]]}


def one(settings: Settings, log: ReleaseLog, name: str) -> Mapping[str, Any]:
    """One rollout with its records; of the latest also where it is now, and what every gate says.

    Raises:
        RequestError: There is none of this name.
        UnavailableError: The release log does not answer.
    """
    curves = gate_curves(log, GateSamples(settings.log_url), name)
    latest = rollout_of(log.state())
    shown: dict[str, Any] = {"record": past_as_json(curves.rollout), "now": None, "curves": drawn_curves(curves)}
    if latest is None or latest.id != name:
        return shown
    seen = see(settings)
    now = as_json(seen)
    decided = seen.rollout is None or seen.rollout.phase in DECIDED
    return shown | {
        "now": now,
        "stages": _stages(seen.rollout) if seen.rollout else [],
        "gates": [{**gate.model_dump(mode="json"), "drawn": drawn(gate)} for gate in seen.gates],
        "overrules": [] if decided else [gate.model_dump(mode="json") for gate in overruled(seen.gates)],
        "acts": _possible(seen.rollout),
    }


def act(log: ReleaseLog, name: str, what: str, *, by: str, reason: str, typed: str = "") -> None:
    """Do to the rollout `name` what its buttons say.

    Args:
        log: The release log.
        name: The rollout that was on the page.
        what: One of `ACTS`.
        by: Whose record it is.
        reason: Kept in the record.
        typed: To promote, the candidate's name: what somebody reads before they write it.

    Raises:
        RequestError: There is no such act, or the typed name is another one.
        ConflictError: Another rollout has begun since the page was made, or this one cannot do that now.
    """
    if what not in ACTS:
        raise RequestError(f"{what}: a rollout can {', '.join(ACTS)}")
    latest = rollout_of(log.state())
    if latest is None or latest.id != name:
        raise ConflictError(f"rollout {name} is not the latest any more; load the page again")
    if what == "promote" and typed.strip() != latest.candidate:
        raise RequestError(f"to promote, type the candidate's name, {latest.candidate} (got {typed.strip()!r})")
    ACTS[what](log, by, reason.strip())


def drawn(gate: GateResult) -> dict[str, float] | None:
    """Where an interval's ends, its value and its limit lie in a drawing from 0 to 100; None: there is no interval."""
    if gate.value is None:
        return None
    low, high = (gate.value if end is None else end for end in (gate.low, gate.high))
    limit = gate.limit if gate.limit is not None else gate.value
    first, last = min(low, gate.value, limit), max(high, gate.value, limit)
    reach = last - first or abs(last) or 1.0

    def place(value: float) -> float:
        return round(100 * (_MARGIN + (1 - 2 * _MARGIN) * (value - first) / reach), 2)

    ends = {"low": place(low), "high": place(high), "value": place(gate.value)}
    return ends if gate.limit is None else ends | {"limit": place(gate.limit)}


def _possible(rollout: Rollout | None) -> list[str]:
    if rollout is None or rollout.phase in (Phase.ROLLED_BACK, Phase.FINISHED):
        return []
    if rollout.phase is Phase.PROMOTED:
        return ["abort"] if rollout.previous else []
    return ["resume" if rollout.paused else "pause", "promote", "abort"]


def _stages(rollout: Rollout) -> list[dict[str, Any]]:
    """The way of a rollout, and how far it is on it; nothing of one that is decided against, which its reason tells."""
    policy, phase = rollout.policy, rollout.phase
    shadow = [f"shadow {policy.shadow.percent} %"] if policy.shadow and rollout.previous else []
    steps = [f"{step.percent} %" for step in policy.steps] if rollout.previous else []
    names = ["registered", "verified", *shadow, *steps, "promoted"]
    places = {
        Phase.REGISTERED: 0,
        Phase.VERIFIED: 1,
        Phase.SHADOW: 2,
        Phase.CANARY: 2 + len(shadow) + rollout.step,
        Phase.PROMOTED: len(names) - 1,
    }
    if phase not in places:
        return []
    return [{"name": name, "done": n < places[phase], "now": n == places[phase]} for n, name in enumerate(names)]
