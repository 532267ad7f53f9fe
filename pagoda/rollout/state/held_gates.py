"""What the offline gates of a rollout wait for, as its driver found it: a record that changes nothing.

It is of a kind of its own, and no `rollout.…`: a release that does not know it passes over it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.append_log.records import Draft, Record
from pagoda.errors import IntegrityError, explain
from pagoda.generations.state import ReleaseState
from pagoda.rollout.gate_results import GateResult
from pagoda.rollout.state.machine import Rollout

KIND = "gates.held"


class Held(BaseModel):
    """Every offline gate's result at a moment when one of them held."""

    model_config = ConfigDict(frozen=True)

    rollout: str
    candidate: str
    held: tuple[GateResult, ...]

    def draft(self) -> Draft:
        """The record that says so."""
        return Draft(kind=KIND, body=self.model_dump(mode="json"))


def last_held(state: ReleaseState, rollout: Rollout) -> Record | None:
    """The latest such record of a rollout."""
    ours = (one for one in reversed(state.others) if one.kind == KIND and one.body.get("rollout") == rollout.id)
    return next(ours, None)


def held_of(record: Record) -> Held:
    """What such a record says.

    Raises:
        IntegrityError: It cannot be read.
    """
    try:
        return Held.model_validate(record.body)
    except ValidationError as error:
        raise IntegrityError(explain(error, f"release log: {record.name} ({record.kind})")) from error


def held_gates(state: ReleaseState, rollout: Rollout) -> tuple[GateResult, ...]:
    """The results that the driver last recorded of the rollout's candidate; none where none held."""
    record = last_held(state, rollout)
    found = held_of(record) if record else None
    return found.held if found and found.candidate == rollout.candidate else ()
