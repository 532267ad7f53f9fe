"""A tower host that follows a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pagoda.embeddings.tables import TowerTables
from pagoda.errors import UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from serving.workers.follower import Follower
from serving.workers.tower_host import LocalTowers
from tests.registry.conftest import Clock
from tests.registry.worlds import World


class Models:
    """A tower's server in memory."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.calls: list[str] = []
        self.down = False

    def ensure(self, full_version: int, archive: Path) -> None:
        self._answer()
        assert archive.read_bytes() == b"archive of %d" % full_version
        self.calls.append(f"ensure {full_version}")
        self.versions.append(full_version)

    def retire(self, full_version: int) -> None:
        self._answer()
        self.calls.append(f"retire {full_version}")
        self.versions.remove(full_version)

    def held(self) -> list[int]:
        self._answer()
        return list(self.versions)

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError("user tower: does not answer")


class Host:
    """A machine with a tower, its tables and its follower, and what it follows."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.log = ReleaseLog(str(folder / "log"), clock=self.clock)
        self.registry = FolderRegistry(folder / "versions", self.log)
        self.world = World(folder / "made")
        self.folder = folder / "tables"
        self.models = Models()
        self.start()

    def start(self) -> None:
        """Start the follower, or another one after the last was killed."""
        seconds = self.seconds
        towers = LocalTowers(self.models, seconds)
        self.follower = Follower(self.log, self.folder, towers, monotonic=seconds)

    @property
    def seconds(self) -> Callable[[], float]:
        start = self.clock.now
        return lambda: 1000.0 + (self.clock.now - start).total_seconds()

    def value(self, generation: str, user: int = 1) -> float:
        """What the tower finds in the row of a user."""
        full = int(generation[1:].split(".", maxsplit=1)[0])
        rows, _ = TowerTables(self.folder, full).generation(generation).users.lookup(np.array([user], np.int64))
        return float(rows[0, 0])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.follower.close()
