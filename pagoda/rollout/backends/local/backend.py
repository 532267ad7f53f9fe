"""One machine: the embedded TorchServe and Milvus, or what takes their place in the recall process.

Most of the work is the follower's: it brings to the tower's host whatever the release log says is live, tables and
model archive, and takes the rest away. What is left is memory for collections, and to say how far all of it is. All
generations share one tower's server and one index, be they processes of their own or recall itself, so a generation
whose parts are there has all the capacity there is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pagoda.errors import ConflictError
from pagoda.generations.holding import Holding, read_holding
from pagoda.generations.manifest import Manifest, versions_in
from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import BackendStatus, Readiness, Target
from pagoda.rollout.backends.local.memory import collection_bytes
from pagoda.rollout.backends.local.probe import GenerationProbe
from pagoda.rollout.backends.shelving import Shelf, Shelving
from pagoda.settings import CollectionConfig

WORKER_BYTES = 300 << 20
"""What TorchServe's worker of another full version takes."""
PROGRAM_BYTES = 32 << 20
"""What another full version takes in a recall process that has PyTorch already."""
_EVERYTHING = 100


def free_memory() -> int:
    """Bytes that this machine could give to new processes."""
    return int(psutil.virtual_memory().available)


class LocalBackend:
    """The servers of one machine. Any number of drivers on it may share them."""

    def __init__(
        self,
        shelf: Shelf,
        probe: GenerationProbe,
        *,
        index: CollectionConfig,
        tower_url: str,
        tables: Path,
        memory: Path,
        state: Callable[[], ReleaseState],
        free_bytes: Callable[[], int] = free_memory,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            shelf: The collections.
            probe: Says what is missing of a generation.
            index: What collections are built with.
            tower_url: The tower's server; empty where the tower runs in the recall process.
            tables: The folder that the follower fills.
            memory: File that keeps the number of the record that was applied last.
            state: What the release log says now.
            free_bytes: Memory that is left on this machine.
        """
        self._shelf, self._probe, self._tower_url, self._tables = shelf, probe, tower_url, tables
        self._index, self._memory, self._free_bytes = index, memory, free_bytes
        self._shelving = Shelving(shelf, state)

    def preflight(self, target: Target) -> list[str]:
        """See `Backend.preflight`."""
        said = read_holding(self._tables)
        if said is None:
            return [f"no follower has brought anything to {self._tables} yet; `pagoda up` runs one"]
        candidate = target.candidate
        if candidate is None:
            return []
        if not self._shelf.exists(candidate.collection):
            return [f"collection {candidate.collection} is not there"]
        need, free = self._need(candidate, said), self._free_bytes()
        return [f"{candidate.id} needs about {need >> 20} MiB, {free >> 20} MiB are free"] if need > free else []

    def apply(self, target: Target) -> None:
        """See `Backend.apply`."""
        with self._as_the_latest(target.record):
            self._shelving.follow(target)

    def status(self, target: Target) -> BackendStatus:
        """See `Backend.status`."""
        said = read_holding(self._tables)
        found = {}
        for manifest in target.generations:
            missing = _unheld(manifest, said) or self._probe(manifest, self._tower_url)
            found[manifest.id] = Readiness(missing=tuple(missing)) if missing else Readiness(_EVERYTHING)
        return BackendStatus(found)

    def _need(self, candidate: Manifest, said: Holding) -> int:
        """Memory that is still to be taken for a candidate."""
        held = {versions_in(id_)[0] for id_ in said.held}
        collection = 0 if self._shelf.loaded(candidate.collection) else collection_bytes(candidate, self._index)
        tower = WORKER_BYTES if self._tower_url else PROGRAM_BYTES
        return collection + (0 if candidate.full_version in held else tower)

    @contextmanager
    def _as_the_latest(self, record: int) -> Iterator[None]:
        """Refuse what follows from an older record than the last one; one at a time, over any crash."""
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._memory, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            applied = int(os.pread(descriptor, 32, 0).strip() or 0)
            if applied > record:
                raise ConflictError(f"record {applied} was applied already, this is {record}")
            if applied < record:
                # Before anything is done: whatever comes after a crash in the middle is at least as new. Of one width,
                # so that no crash leaves a part of an older number behind it.
                os.pwrite(descriptor, f"{record:020d}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def _unheld(manifest: Manifest, said: Holding | None) -> list[str]:
    if said is None or manifest.id not in (*said.held, *said.refused):
        return [f"the tower's host does not hold {manifest.id} yet"]
    if manifest.id in said.refused:
        return [f"the tower's host refuses {manifest.id}: {said.refused[manifest.id]}"]
    return []
