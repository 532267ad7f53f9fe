"""The follower as a process: it starts, follows, survives a kill, and stops when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pagoda.embeddings.tables import TowerTables
from pagoda.errors import NotHeldError
from pagoda.generations.creation import add_incremental
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from pagoda.updates.readiness import tables_hold
from tests.registry.worlds import World

pytestmark = pytest.mark.integration
_PATIENCE_SECONDS = 60.0
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "serving.workers.follower", "--home", str(tmp_path), *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAGODA_")}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def becomes_current(folder: Path, generation: str) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if TowerTables(folder, 1).current() == generation:
                return True
        except NotHeldError:
            pass
        time.sleep(0.01)
    return False


def test_publishing_to_a_following_host_that_is_killed_in_between(tmp_path: Path, start: Start) -> None:
    log, world, tables = ReleaseLog(str(tmp_path / "log")), World(tmp_path / "made"), tmp_path / "tables"
    registry = FolderRegistry(tmp_path / "versions", log)
    check = tables_hold(tables, _PATIENCE_SECONDS)
    follower = start("--poll", "0.02")
    base = registry.register(world.full())
    publish(log, world.generation(log, base.version).id, "stable", checks=[check])
    assert becomes_current(tables, "g1")

    follower.send_signal(signal.SIGKILL)
    follower.wait()
    parent = registry.register(world.incremental(base))
    generation = add_incremental(log, parent.version).id
    assert TowerTables(tables, 1).current() == "g1"

    follower = start("--poll", "0.02")
    publish(log, generation, checks=[check])
    assert becomes_current(tables, generation)
    follower.send_signal(signal.SIGTERM)
    assert follower.wait(_PATIENCE_SECONDS) == 0


def test_a_single_look_says_whether_the_stable_generation_is_held(tmp_path: Path, start: Start) -> None:
    log, world = ReleaseLog(str(tmp_path / "log")), World(tmp_path / "made")
    world.serve_chain(FolderRegistry(tmp_path / "versions", log), log, 1)
    publish(log, "g1.2", "stable")
    assert start("--once").wait(_PATIENCE_SECONDS) == 0
    assert becomes_current(tmp_path / "tables", "g1.2")


def test_a_wrong_setting_is_one_line(tmp_path: Path, start: Start) -> None:
    (tmp_path / "pagoda.yaml").write_text("registery: {}\n")
    process = start("--once")
    _, errors = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "ConfigError: settings: registery" in errors and "Traceback" not in errors
