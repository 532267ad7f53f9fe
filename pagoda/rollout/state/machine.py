"""The state machine of a rollout, without side effects: records in, state out.

registered ─▶ verified ─▶ (shadow) ─▶ canary step 1 ─▶ … ─▶ promoted ─▶ finished
     └───────────┴───────────┴────────────┴───────────────────┴──▶ rolled back ─▶ finished
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from pagoda.errors import ConflictError
from pagoda.rollout.policy import RolloutPolicy
from pagoda.rollout.state import events as ev
from pagoda.rollout.state.events import Event


class Phase(StrEnum):
    """Where a rollout is."""

    REGISTERED = "registered"
    VERIFIED = "verified"
    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    FINISHED = "finished"


BEFORE_ARM = (Phase.REGISTERED, Phase.VERIFIED, Phase.SHADOW)
UNDECIDED = (*BEFORE_ARM, Phase.CANARY)


class Rollout(BaseModel):
    """One rollout, after some record of the log."""

    model_config = ConfigDict(frozen=True)

    id: str
    """`r12`, from the number of the record that started it."""
    candidate: str
    """Its generation; a newer one after a refresh, or after an incremental was published to its arm."""
    previous: str | None
    """The generation that it is compared with, and that a rollback returns to."""
    policy: RolloutPolicy
    by: str
    phase: Phase = Phase.REGISTERED
    step: int = -1
    """Index of the canary step; -1 before the first."""
    since: AwareDatetime
    """When the phase or step began: gates look at what was measured since."""
    waiting_since: AwareDatetime
    """`since`, or the last resume: the maximum wait counts from here."""
    limit_ms: float | None = None
    """Latency limit of this phase, fixed when it began."""
    paused: bool = False
    forced: bool = False
    reason: str = ""
    """Why it was promoted or rolled back."""
    superseded: str = ""
    """Who changed the arms over its head; empty: nobody."""

    @property
    def active(self) -> bool:
        """Whether another one must wait."""
        return self.phase is not Phase.FINISHED

    @property
    def percent(self) -> int:
        """Share of users in the canary arm, or copied to it in shadow."""
        if self.phase is Phase.CANARY:
            return self.policy.steps[self.step].percent
        return self.policy.shadow.percent if self.phase is Phase.SHADOW and self.policy.shadow else 0


def transition(rollout: Rollout | None, event: Event, at: datetime, number: int) -> Rollout:
    """The rollout after `event`, which becomes record `number`.

    Raises:
        ConflictError: That cannot happen to it now; the message says in which phase it could.
    """
    if isinstance(event, ev.Started):
        if rollout and rollout.active:
            raise ConflictError(f"rollout {rollout.id} of {rollout.candidate} is {rollout.phase}; it must finish first")
        return Rollout(
            id=f"r{number}",
            candidate=event.candidate,
            previous=event.previous,
            policy=event.policy,
            by=event.by,
            since=at,
            waiting_since=at,
        )
    if rollout is None:
        raise ConflictError("there is no rollout; `pagoda rollout start` makes one")
    _allow(rollout, event)
    return rollout.model_copy(update=_changes(event, at))


_FROM: Mapping[str, tuple[Phase, ...]] = {
    "verified": (Phase.REGISTERED,),
    "shadowed": (Phase.VERIFIED,),
    "stepped": (Phase.VERIFIED, Phase.SHADOW, Phase.CANARY),
    "promoted": (Phase.VERIFIED, Phase.SHADOW, Phase.CANARY),
    "rolled_back": (*UNDECIDED, Phase.PROMOTED),
    "finished": (Phase.PROMOTED, Phase.ROLLED_BACK),
    "refreshed": BEFORE_ARM,
    "paused": UNDECIDED,
    "resumed": UNDECIDED,
    "forced": UNDECIDED,
}


def _allow(rollout: Rollout, event: Event) -> None:
    phases = _FROM[event.kind]
    what = f"rollout {rollout.id} of {rollout.candidate} is {rollout.phase}"
    if rollout.phase not in phases:
        raise ConflictError(f"{what}; {event.kind.replace('_', ' ')} is possible only from {', '.join(phases)}")
    if isinstance(event, ev.Stepped | ev.Shadowed) and rollout.previous is None:
        raise ConflictError(f"{what} and is the first generation; there is no stable arm to compare it with")
    if isinstance(event, ev.Stepped) and event.step != rollout.step + 1:
        raise ConflictError(f"{what}, step {rollout.step + 1}; step {event.step + 1} does not follow")
    if isinstance(event, ev.Stepped) and event.step >= len(rollout.policy.steps):
        raise ConflictError(f"{what}, which was its last step")
    if isinstance(event, ev.Paused | ev.Resumed) and rollout.paused is isinstance(event, ev.Paused):
        raise ConflictError(f"{what} and is {'already' if rollout.paused else 'not'} paused")


_TO: Mapping[str, Phase] = {
    "verified": Phase.VERIFIED,
    "shadowed": Phase.SHADOW,
    "stepped": Phase.CANARY,
    "promoted": Phase.PROMOTED,
    "rolled_back": Phase.ROLLED_BACK,
    "finished": Phase.FINISHED,
}
_TOLD: Mapping[str, tuple[str, ...]] = {
    "shadowed": ("limit_ms",),
    "stepped": ("step", "limit_ms"),
    "promoted": ("candidate", "previous", "reason"),
    "rolled_back": ("candidate", "reason"),
    "refreshed": ("candidate",),
}
"""What a record says that the state keeps."""


def _changes(event: Event, at: datetime) -> dict[str, Any]:
    told = {name: getattr(event, name) for name in _TOLD.get(event.kind, ())}
    if event.kind in _TO:
        return {"phase": _TO[event.kind], "since": at, "waiting_since": at, **told}
    match event:
        case ev.Paused():
            return {"paused": True}
        case ev.Resumed():
            return {"paused": False, "waiting_since": at}
        case ev.Forced():
            return {"forced": True, "paused": False, "waiting_since": at}
    return told
