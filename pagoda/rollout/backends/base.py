"""The interface of a backend: it is told what must be true, not what to do next.

Traffic between arms is decided by the log alone: the recall service reads it and names a generation with each request.
A backend sees to it that every generation that an arm may name is there, with enough capacity, and shows the shares
where others look for them (KServe's traffic fields).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pagoda.generations.manifest import Manifest


@dataclass(frozen=True)
class Target:
    """What must be true of the servers; derived from the log, so that applying it twice or after a crash is safe."""

    record: int
    """The record of the log that this follows from. A backend that has applied a later one refuses it."""
    stable: Manifest | None
    """Answers everybody who is not in the canary arm; None before the first promotion."""
    candidate: Manifest | None = None
    """Gets ready, or is the canary arm."""
    percent: int = 0
    """Share of the traffic that the candidate's servers get."""
    capacity: int = 0
    """Share of the stable arm's present capacity that the candidate must have ready; `percent` or more."""
    held: tuple[Manifest, ...] = ()
    """Loaded without traffic: what a rollback returns to, or what drains."""

    @property
    def generations(self) -> tuple[Manifest, ...]:
        """All that must stay loaded; whatever else the servers hold may go."""
        named = (self.stable, self.candidate, *self.held)
        return tuple({manifest.id: manifest for manifest in named if manifest}.values())


@dataclass(frozen=True)
class Readiness:
    """Whether one generation can answer."""

    capacity: int = 0
    """Share of the stable arm's capacity, in percent, that is ready for it; 0 while anything is missing."""
    missing: tuple[str, ...] = ()
    """Parts that are not there yet, for people: `collection recall_v3 is not loaded`."""


@dataclass(frozen=True)
class BackendStatus:
    """What the servers hold now."""

    generations: Mapping[str, Readiness] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """For people: shares that a platform shows, say."""

    def of(self, generation: str) -> Readiness:
        """How ready a generation is."""
        return self.generations.get(generation, Readiness(missing=("nothing of it is there",)))


class Backend(Protocol):
    """Carries out targets. Every call is idempotent and may be repeated after a crash."""

    def preflight(self, target: Target) -> list[str]:
        """What stands in the way of `target`, one sentence each that names what is missing; empty when nothing does.

        Raises:
            UnavailableError: The servers do not answer.
        """

    def apply(self, target: Target) -> None:
        """Start whatever leads to `target`; does not wait for it.

        Raises:
            ConflictError: A later record has been applied already; nothing was changed.
            UnavailableError: The servers do not answer; call it again.
        """

    def status(self, target: Target) -> BackendStatus:
        """How far `target` has come.

        Raises:
            UnavailableError: The servers do not answer.
        """
