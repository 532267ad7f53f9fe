"""All rollouts that a release log tells of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pagoda.append_log.records import Record
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout.state.events import PREFIX, event_of


@dataclass(frozen=True)
class PastStep:
    """One record of a rollout."""

    number: int
    at: datetime
    kind: str
    """`stepped`, `rolled_back` …"""
    reason: str
    by: str


@dataclass(frozen=True)
class PastRollout:
    """One rollout from its first record to its last so far."""

    id: str
    candidate: str
    previous: str | None
    steps: tuple[PastStep, ...]

    @property
    def outcome(self) -> str:
        """`promoted`, `rolled back` (also when it was promoted before), or `in progress`."""
        kinds = [step.kind for step in self.steps]
        ends = [kind for kind in kinds if kind in ("promoted", "rolled_back")]
        return ends[-1].replace("_", " ") if ends else "in progress"

    @property
    def reason(self) -> str:
        """Why it ended as it did."""
        told = [step.reason for step in self.steps if step.kind in ("promoted", "rolled_back")]
        return told[-1] if told else ""

    @property
    def seconds_to_decision(self) -> float | None:
        """From its start until it was first promoted or rolled back."""
        decided = [step.at for step in self.steps if step.kind in ("promoted", "rolled_back")]
        return (decided[0] - self.steps[0].at).total_seconds() if decided else None


def rollouts(log: ReleaseLog) -> list[PastRollout]:
    """Every rollout, oldest first.

    Raises:
        IntegrityError: A record is damaged.
        UnavailableError: The log does not answer.
    """
    return fold(log.records())


def fold(records: Iterable[Record]) -> list[PastRollout]:
    """The rollouts among `records`, which begin with the log's first."""
    found: list[PastRollout] = []
    for record in records:
        if not record.kind.startswith(PREFIX):
            continue
        event = event_of(record)
        step = PastStep(record.number, record.at, event.kind, event.reason, str(getattr(event, "by", "driver")))
        if event.kind == "started":
            found.append(PastRollout(f"r{record.number}", event.candidate, event.previous, (step,)))
        elif found:
            last = found[-1]
            candidate = getattr(event, "candidate", "") or last.candidate
            found[-1] = replace(last, candidate=candidate, steps=(*last.steps, step))
    return found
