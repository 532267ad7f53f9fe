"""The rollout that the release log tells of, and the records that it goes on by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from pagoda.append_log.records import Draft, Record
from pagoda.errors import ConflictError, IntegrityError
from pagoda.generations.arms import Arms
from pagoda.generations.state import ReleaseState
from pagoda.rollout.state import events as ev
from pagoda.rollout.state.events import PREFIX, Event, event_of
from pagoda.rollout.state.machine import UNDECIDED, Phase, Rollout, transition
from pagoda.rollout.state.split import Split


def rollout_of(state: ReleaseState) -> Rollout | None:
    """The latest rollout, in progress or finished; None when there never was one.

    Raises:
        IntegrityError: The log tells of an impossible course.
    """
    trail = []
    for record in reversed(state.others):
        if record.kind.startswith(PREFIX):
            trail.append(record)
            if record.kind == PREFIX + "started":
                break
    course = list(course_of(reversed(trail)))
    return _with_arms(course[-1][2], state) if course else None


def course_of(records: Iterable[Record]) -> Iterator[tuple[Record, Event, Rollout]]:
    """The records of one rollout from its first on, what each tells of, and the rollout after it.

    Raises:
        IntegrityError: The course is impossible.
    """
    rollout: Rollout | None = None
    for record in records:
        event = event_of(record)
        rollout = _fold(rollout, record.number, event, record.at)
        yield record, event, rollout


def split_of(state: ReleaseState) -> Split | None:
    """How users are split between the arms now; None before anything was released."""
    stable, canary = state.arms.stable, state.arms.canary
    if stable is None:
        return None
    rollout = rollout_of(state)
    if rollout is None or rollout.superseded:
        return Split(stable)
    if rollout.phase is Phase.VERIFIED:  # Nobody is in the canary yet, but the stable arm is measured already.
        return Split(stable, rollout=rollout.id)
    if rollout.phase is Phase.SHADOW:
        return Split(stable, rollout.candidate, rollout.percent, rollout.id, shadow=True)
    if rollout.phase is Phase.CANARY and canary:
        return Split(stable, canary, rollout.percent, rollout.id, outcomes=rollout.policy.online.outcomes)
    return Split(stable)


def draft_of(state: ReleaseState, event: Event, at: datetime) -> Draft:
    """The record that makes `event` happen, arms included, so that traffic and state move in one write.

    Raises:
        ConflictError: It cannot happen now.
    """
    before = rollout_of(state)
    if before and isinstance(event, ev.Promoted):
        event = event.model_copy(update={"candidate": before.candidate, "previous": before.previous})
    if before and isinstance(event, ev.RolledBack):
        if _returns(before) and before.previous is None:
            raise ConflictError(f"{before.candidate} was the first generation; there is nothing to go back to")
        if _returns(before) and before.previous in state.retired:
            raise ConflictError(f"{before.previous} is retired: the grace of {before.candidate}'s promotion is over")
        if _returns(before) and _moved(state, before):
            raise ConflictError(f"the collection of {before.previous} is in the search backend of before the rebuild")
        event = event.model_copy(update={"candidate": before.candidate})
    after = transition(before, event, at, state.head + 1)
    body: dict[str, Any] = {"rollout": after.id, **event.model_dump(mode="json", exclude={"kind"})}
    arms = _arms(before, event, state.arms) if before else state.arms
    if arms != state.arms:
        body["arms"] = arms.model_dump()
    return Draft(kind=PREFIX + event.kind, body=body)


def _arms(before: Rollout, event: Event, now: Arms) -> Arms:
    match event:
        case ev.Stepped():
            return Arms(stable=now.stable, canary=before.candidate)
        case ev.Promoted():
            return Arms(stable=before.candidate)
        case ev.RolledBack():
            return Arms(stable=before.previous if _returns(before) else now.stable)
    return now


def _moved(state: ReleaseState, rollout: Rollout) -> bool:
    """Whether what is stable was built in another search backend since it was promoted."""
    backends = {state.generations[id_].backend for id_ in (rollout.previous, rollout.candidate) if id_}
    return len(backends) > 1


def _returns(rollout: Rollout) -> bool:
    """Whether rolling back changes what is stable."""
    return rollout.phase is Phase.PROMOTED and not rollout.superseded


def _fold(rollout: Rollout | None, number: int, event: Event, at: datetime) -> Rollout:
    try:
        return transition(rollout, event, at, number)
    except ConflictError as error:
        raise IntegrityError(f"release log: record {number} is impossible: {error}") from error


def _with_arms(rollout: Rollout, state: ReleaseState) -> Rollout:
    """What the arms say of it: incrementals published meanwhile, or that somebody else changed them."""
    stable, canary = state.arms.stable, state.arms.canary
    if rollout.phase in UNDECIDED:
        in_arm = rollout.phase is Phase.CANARY
        kept = _follows(state, stable, rollout.previous, rollout.candidate)
        if kept and in_arm is (canary is not None) and (not in_arm or _kin(state, canary, rollout.candidate)):
            return rollout.model_copy(update={"previous": stable, "candidate": canary or rollout.candidate})
    elif rollout.phase is not Phase.PROMOTED:
        return rollout
    elif stable and _kin(state, stable, rollout.candidate) and not _older(state, stable, rollout.candidate):
        return rollout.model_copy(update={"candidate": stable})
    return rollout.model_copy(update={"superseded": _author(state)})


def _follows(state: ReleaseState, stable: str | None, previous: str | None, candidate: str) -> bool:
    """Whether the stable arm is what the candidate is compared with, or an incremental on it.

    An incremental candidate is compared with exactly one generation: promoting it over a newer one would go back.
    """
    return stable == previous or (_kin(state, stable, previous) and not _kin(state, candidate, previous))


def _kin(state: ReleaseState, id_: str | None, other: str | None) -> bool:
    if id_ is None or other is None:
        return id_ == other
    return state.generations[id_].full_version == state.generations[other].full_version


def _older(state: ReleaseState, id_: str, other: str) -> bool:
    return state.generations[id_].order < state.generations[other].order


def _author(state: ReleaseState) -> str:
    last = state.releases[-1]
    return f"record {last.number} ({last.reason})"
