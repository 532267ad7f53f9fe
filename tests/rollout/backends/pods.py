"""Two recall pods that follow the log, and collections that only remember."""

from __future__ import annotations

from pathlib import Path

from pagoda.generations.holding import Holding
from pagoda.generations.live import live
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout.backends.base import BackendStatus, Target
from pagoda.rollout.backends.kserve.lease_memory import LeaseMemory
from pagoda.rollout.backends.pods.backend import PodsBackend
from tests.rollout.local import Machine


class Pods(Machine):
    """Stands where `Machine` does, with the backend of recall's pods in the middle."""

    def __init__(self, folder: Path, log: ReleaseLog, memory: LeaseMemory) -> None:
        super().__init__(folder, log)
        self.memory, self.late, self.starting = memory, [set[str](), set[str]()], False
        self.refused: dict[str, str] = {}

    def process(self) -> PodsBackend:  # type: ignore[override]
        return PodsBackend(self.shelf, self.memory, hosts=self.hosts, state=self.log.state)

    def hosts(self) -> list[Holding]:
        """What each pod says; one that starts holds nothing."""
        wanted = set(live(self.log.state(), self.log.now()))
        held = [wanted - late for late in self.late] + [set[str]()] * self.starting
        return [Holding(head=0, current=None, held=tuple(sorted(one)), refused=self.refused) for one in held]

    def status(self, wanted: Target) -> BackendStatus:
        self.reach("status")
        return self.process().status(wanted)
