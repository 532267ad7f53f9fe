"""What the serving tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.tower.runtime import TowerRuntime

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
