"""What the serving tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagoda.storage.checksums import SHA256, checksum_file
from serving.tower.archive import archive_name, package
from serving.tower.archive_trust import write_checksums
from serving.tower.runtime import TowerRuntime

from .torchserve import RunningTower, kserve_tower, torchserve
from .worlds import World, add_generation, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Full version 3 with generations g3 (current) and g3.5, in which users 1 and 2 have other rows."""
    folder: Path = tmp_path_factory.mktemp("world")
    made = make_world(folder / "version", folder / "tables")
    assert add_generation(made, 5, [1, 2]) == "g3.5"
    return made


@pytest.fixture(scope="session")
def runtime(world: World) -> TowerRuntime:
    """The tower of `world` in this process."""
    return TowerRuntime.load(world.folder, world.open_tables())


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Full version 3 with generations g3 and g3.5, in the tables and the store of `tower`."""
    return _served(tmp_path_factory.mktemp("tower"))


def _served(home: Path) -> World:
    made = make_world(home / "three", home / "tables")
    add_generation(made, 5, [1, 2])
    archive = package(made.folder, 3, home / "archives")
    write_checksums(made.tables, {3: checksum_file(archive, SHA256)})
    return made


@pytest.fixture(scope="session")
def tower(served: World) -> Iterator[RunningTower]:
    """A TorchServe that found version 3 in its store when it started. Tests add versions of their own."""
    with torchserve(served.tables.parent) as running, running.models() as models:
        models.ensure(3, models.archive(3))
        yield running


@pytest.fixture(scope="session")
def served_by_kserve(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same in those of `kserve`."""
    return _served(tmp_path_factory.mktemp("kserve"))


@pytest.fixture(scope="session")
def kserve(served_by_kserve: World) -> Iterator[RunningTower]:
    """The tower on KServe's model server, as `tower` is on TorchServe."""
    with kserve_tower(served_by_kserve.tables.parent) as running, running.brought() as models:
        models.ensure(3, running.store / archive_name(3))
        yield running
