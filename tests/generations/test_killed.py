"""A publisher killed at any step leaves the old generation serving, and running it again finishes the job."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from pagoda.embeddings.tables import TowerTables
from pagoda.generations.creation import add_incremental
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionDraft
from pagoda.registry.base import CHAMPION
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish, write_aliases
from pagoda.updates.readiness import tables_hold
from serving.workers.follower import Follower
from serving.workers.tower_host import NoTowers
from tests.embeddings.test_tables_killed import run_killed_at
from tests.registry.worlds import World


class Installation:
    """Everything below one folder, as a process opens it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = ReleaseLog(str(home / "log"))
        self.registry = FolderRegistry(home / "versions", self.log)

    def follow(self) -> None:
        follower = Follower(self.log, self.home / "tables", NoTowers())
        follower.step()
        follower.close()

    def update(self, draft: VersionDraft) -> None:
        """All of an incremental update that comes after training."""
        generation = add_incremental(self.log, self.registry.register(draft).version).id
        self.follow()
        publish(self.log, generation, checks=[tables_hold(self.home / "tables", 0.0)])
        self.follow()
        write_aliases(self.log, self.registry)


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_a_step_of_an_incremental_update(tmp_path: Path, stride: int) -> None:
    home, before = tmp_path / "home", tmp_path / "before"
    world, first = World(tmp_path / "made"), Installation(home)
    world.serve_chain(first.registry, first.log, 1)
    first.follow()
    publish(first.log, "g1.2", "stable")
    first.follow()
    draft = world.incremental(first.registry.get(1), 1, first.registry.get(2))
    shutil.copytree(home, before)
    step, killed = 1 + stride // 2, True
    while killed:
        shutil.rmtree(home)
        shutil.copytree(before, home)
        killed = run_killed_at(step, lambda: Installation(home).update(draft), home)
        state = Installation(home).log.state()
        assert state.stable in ("g1.2", "g1.3")
        assert TowerTables(home / "tables", 1).current() in ("g1.2", "g1.3")
        Installation(home).update(draft)
        done = Installation(home)
        assert done.log.state().stable == TowerTables(home / "tables", 1).current() == "g1.3"
        assert Counter(record.kind for record in done.log.records()) == {
            "registered": 3,
            "generation": 3,
            "released": 2,
        }
        assert len([path for path in (home / "versions").iterdir() if path.is_dir()]) == 3
        assert (home / "versions" / CHAMPION).read_text().startswith("1 ")
        step += stride
