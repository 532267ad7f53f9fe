"""A rollout as it is now, for people's tables and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pagoda.errors import ConfigError, IntegrityError, UnavailableError
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.rollout.decide import View, decide
from pagoda.rollout.driver import Look
from pagoda.rollout.factory import open_driver
from pagoda.rollout.gate_results import GateResult
from pagoda.rollout.state.events import PREFIX, event_of
from pagoda.rollout.state.history import PastRollout
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.rollout.state.split import Split
from pagoda.settings import Settings

DECIDED = (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FINISHED)
_ALL = 100


@dataclass(frozen=True)
class Seen:
    """An installation's latest rollout, as it is now."""

    state: ReleaseState
    split: Split | None
    look: Look
    now: datetime

    @property
    def rollout(self) -> Rollout | None:
        """The latest one."""
        return self.look.rollout

    @property
    def gates(self) -> Sequence[GateResult]:
        """As measured now; where nothing is measured, as the last record has them."""
        return self.look.decision.gates or _recorded(self.state)

    @property
    def traffic(self) -> dict[str, int]:
        """Share of the users by arm, in percent."""
        canary = self.split.percent if self.split and self.split.canary and not self.split.shadow else 0
        return {"stable": _ALL - canary, "canary": canary}


def see(settings: Settings) -> Seen:
    """Look at the log and, as far as they answer, at servers and measures. Nothing is changed.

    Raises:
        UnavailableError: The log does not answer.
    """
    log = open_log(settings)
    try:
        look = open_driver(settings).preview()
    except (ConfigError, UnavailableError, IntegrityError) as error:
        state = log.state()
        look = Look(rollout_of(state), decide(state, View(), log.now()), trouble=(str(error),))
    state = log.state()
    return Seen(state, split_of(state), look, log.now())


def as_json(seen: Seen) -> dict[str, Any]:
    """The status for scripts."""
    rollout, decision = seen.rollout, seen.look.decision
    about = rollout.model_dump(mode="json", exclude={"policy"}) if rollout else None
    if about and rollout:
        about |= {"steps": [step.percent for step in rollout.policy.steps], "percent": rollout.percent}
    return {
        "rollout": about,
        "warning": warning_of(seen),
        "arms": seen.state.arms.model_dump(),
        "traffic": seen.traffic,
        "gates": [gate.model_dump(mode="json") for gate in seen.gates],
        "readiness": asdict(seen.look.readiness) if seen.look.readiness else None,
        "next": next_of(seen),
        "due": decision.due.isoformat() if decision.due else None,
        "waits": list(decision.waits),
        "trouble": list(seen.look.trouble),
    }


def past_as_json(one: PastRollout) -> dict[str, Any]:
    """A past rollout as plain values."""
    steps = [{**asdict(step), "at": step.at.isoformat()} for step in one.steps]
    return {
        "rollout": one.id,
        "candidate": one.candidate,
        "previous": one.previous,
        "outcome": one.outcome,
        "reason": one.reason,
        "seconds_to_decision": one.seconds_to_decision,
        "records": steps,
    }


def warning_of(seen: Seen) -> str:
    """What is bad of what the candidate, or else the stable generation, was found to be worth."""
    rollout = seen.rollout
    about = rollout.candidate if rollout and rollout.phase not in DECIDED else seen.state.stable
    return f"{about}: {warning}" if about and (warning := seen.state.warning_of(about)) else ""


def next_of(seen: Seen) -> str:
    """What comes next, and when."""
    rollout, due = seen.rollout, seen.look.decision.due
    if rollout is None:
        return ""
    after = f", not before {_clock(due)}" if due else ""
    match rollout.phase:
        case Phase.FINISHED:
            return rollout.reason
        case Phase.PROMOTED | Phase.ROLLED_BACK:
            return f"{rollout.reason}\nNext: {_let_go(rollout)} is let go{after}."
        case Phase.REGISTERED:
            return "Next: the offline gates."
    return f"Next: {_further(rollout)}{after}."


def _further(rollout: Rollout) -> str:
    """What follows verification or a canary step."""
    policy, step = rollout.policy, rollout.step + 1
    if rollout.phase is Phase.VERIFIED and policy.shadow and rollout.previous and not rollout.forced:
        return f"shadow, requests of {policy.shadow.percent} % of the users are copied"
    if rollout.forced or rollout.previous is None or step == len(policy.steps):
        return "all users"
    return f"step {step + 1}, {policy.steps[step].percent} % of the users"


def _recorded(state: ReleaseState) -> Sequence[GateResult]:
    for record in reversed(state.others):
        if record.kind == f"{PREFIX}started":  # What is older is another rollout's.
            break
        if record.body.get("gates"):
            return tuple(getattr(event_of(record), "gates", ()))
    return ()


def _let_go(rollout: Rollout) -> str:
    return str(rollout.candidate if rollout.phase is Phase.ROLLED_BACK else rollout.previous or "nothing")


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """A time for people, in the unit that suits it."""
    whole = int(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min" if whole < 7200 else f"{whole / 3600:.1f} h"  # noqa: PLR2004
