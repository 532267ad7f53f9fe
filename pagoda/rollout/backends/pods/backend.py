"""Recall's pods, each with the tower and the search in it, and a follower that brings both what the release log says.

As on one machine, but for who is asked: each pod says what it holds, and a generation has the capacity of those that
hold it. Recall is one Deployment, which its own autoscaler scales; arms are within each pod, so there is no traffic to
be moved and no pod to be added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import tenacity

from pagoda.errors import ConflictError
from pagoda.generations.holding import Holding
from pagoda.generations.hosts import holders
from pagoda.generations.manifest import Manifest
from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import BackendStatus, Readiness, Target
from pagoda.rollout.backends.kserve.lease_memory import LeaseMemory
from pagoda.rollout.backends.shelving import Shelf, Shelving, missing_collection

_RACES = 5
_EVERYTHING = 100


class PodsBackend:
    """Any number of recall pods. Any number of drivers may share them."""

    def __init__(
        self,
        shelf: Shelf,
        memory: LeaseMemory,
        *,
        hosts: Callable[[], Sequence[Holding]],
        state: Callable[[], ReleaseState],
    ) -> None:
        """Nothing is read or written yet.

        Args:
            shelf: The collections.
            memory: Keeps the number of the record that was applied last.
            hosts: What the pods say that answer.
            state: What the release log says now.
        """
        self._shelf, self._memory, self._hosts = shelf, memory, hosts
        self._shelving = Shelving(shelf, state)

    def preflight(self, target: Target) -> list[str]:
        """See `Backend.preflight`."""
        if not self._hosts():
            return ["no recall pod says what it holds; `kubectl get pods` says which are there, and in what state"]
        candidate = target.candidate
        if candidate and not self._shelf.exists(candidate.collection):
            return [f"collection {candidate.collection} is not there"]
        return []

    def apply(self, target: Target) -> None:
        """See `Backend.apply`."""
        # Whoever leads renews the Lease meanwhile.
        racing = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ConflictError),
            stop=tenacity.stop_after_attempt(_RACES),
            wait=tenacity.wait_random(0, 0.1),
            reraise=True,
        )
        racing(self._remember, target.record)
        self._shelving.follow(target)

    def _remember(self, record: int) -> None:
        memory = self._memory.read()
        if memory.record > record:
            raise ConflictError(f"record {memory.record} was applied already, this is {record}")
        if memory.record < record:
            self._memory.write(replace(memory, record=record))

    def status(self, target: Target) -> BackendStatus:
        """See `Backend.status`."""
        said = self._hosts()
        # Those that begin hold nothing yet, and answer nobody.
        serving = holders(said, target.stable.id) if target.stable else []
        found = {manifest.id: self._ready(manifest, said, serving or said) for manifest in target.generations}
        return BackendStatus(found, (f"{len(said)} recall pods, {len(serving)} with the stable generation",))

    def _ready(self, manifest: Manifest, said: Sequence[Holding], counted: Sequence[Holding]) -> Readiness:
        if missing := missing_collection(self._shelf, manifest):
            return Readiness(missing=tuple(missing))
        having = holders(counted, manifest.id)
        without = [one for one in (counted if having else said) if manifest.id not in one.held]
        refused = {one.refused[manifest.id] for one in without if manifest.id in one.refused}
        # Of one that refuses it, nobody would ever hear that it keeps the rest from it.
        if having and not refused:
            return Readiness(_EVERYTHING * len(having) // len(counted))
        return Readiness(missing=(_lack(manifest.id, refused),))


def _lack(generation: str, refused: set[str]) -> str:
    if refused:
        return f"recall pods refuse {generation}: {'; '.join(sorted(refused))}"
    return f"no recall pod holds {generation} yet"
