"""What can happen to a rollout. Each event is one `rollout.…` record of the release log, with its evidence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pagoda.append_log.records import Record
from pagoda.errors import IntegrityError, explain
from pagoda.rollout.gate_results import GateResult
from pagoda.rollout.policy import RolloutPolicy

PREFIX = "rollout."


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    reason: str = ""
    """One sentence for people."""


class Started(_Event):
    """A registered candidate asks for traffic."""

    kind: Literal["started"] = "started"
    candidate: str
    previous: str | None
    """The stable generation that it is compared with; None: it is the first of all."""
    policy: RolloutPolicy
    by: str


class Verified(_Event):
    """The offline gates passed."""

    kind: Literal["verified"] = "verified"
    gates: tuple[GateResult, ...] = ()


class Shadowed(_Event):
    """Requests are copied to the candidate from now on."""

    kind: Literal["shadowed"] = "shadowed"
    limit_ms: float | None = None
    gates: tuple[GateResult, ...] = ()


class Stepped(_Event):
    """The candidate is the canary arm of a share of the users from now on."""

    kind: Literal["stepped"] = "stepped"
    step: int
    limit_ms: float | None = None
    gates: tuple[GateResult, ...] = ()


class Promoted(_Event):
    """The candidate is stable; `previous` stays loaded for the grace period."""

    kind: Literal["promoted"] = "promoted"
    candidate: str = ""
    """Both as the arms were at that moment, incrementals included; the log's writer fills them in."""
    previous: str | None = None
    gates: tuple[GateResult, ...] = ()


class RolledBack(_Event):
    """The candidate gets no more traffic."""

    kind: Literal["rolled_back"] = "rolled_back"
    candidate: str = ""
    """As for `Promoted`."""
    gates: tuple[GateResult, ...] = ()
    by: str = "driver"


class Finished(_Event):
    """Grace or drain is over and nothing is left to do; another rollout may start."""

    kind: Literal["finished"] = "finished"


class Refreshed(_Event):
    """Before it has an arm, the candidate caught up by an incremental version on its own base."""

    kind: Literal["refreshed"] = "refreshed"
    candidate: str


class Paused(_Event):
    """No further step until resumed. Gates still roll back."""

    kind: Literal["paused"] = "paused"
    by: str


class Resumed(_Event):
    """Steps go on; the maximum wait begins anew, the measures do not."""

    kind: Literal["resumed"] = "resumed"
    by: str


class Forced(_Event):
    """Promote without waiting for gates that measure quality, as soon as every part is there."""

    kind: Literal["forced"] = "forced"
    by: str


Event = Annotated[
    Started | Verified | Shadowed | Stepped | Promoted | RolledBack | Finished | Refreshed | Paused | Resumed | Forced,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def event_of(record: Record) -> Event:
    """The event that a record tells of.

    Raises:
        IntegrityError: It is none.
    """
    body: dict[str, Any] = {**record.body, "kind": record.kind.removeprefix(PREFIX)}
    try:
        # Older releases of Pagoda may have known more settings than this one; what they wrote must stay readable.
        return _ADAPTER.validate_python(body, extra="ignore")
    except ValidationError as error:
        raise IntegrityError(explain(error, f"release log: {record.name} ({record.kind})")) from error
