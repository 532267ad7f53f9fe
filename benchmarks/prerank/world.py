"""The world of the benchmark, and its versions with a pre-ranker, offered as a platform offers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.generations.manifest import Manifest
from pagoda.settings import EvaluationSettings, IndexSettings, Settings
from pagoda.simulation import simulate
from pagoda.simulation.config import WorldConfig
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.version_files.full import FullVersionFiles
from serving.tower.archive import package

WORLD = WorldConfig(users=2_000, items=5_000, days=8, events=500_000, seed=11, new_users=0.0)
HOW = parse_config("prerank: {}")
"""Defaults all through: 1,000 candidates in 3 ms at most."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Offered:
    """A generation, and what it was made of."""

    settings: Settings
    dataset: Dataset
    files: FullVersionFiles
    manifest: Manifest
    later: Window
    """The day after its window."""


def offered(folder: Path, world: WorldConfig, how: TrainConfig, tell: Callable[[str], object]) -> list[Offered]:
    """Make the world, and offer a first version of all but its last two days and a second one that learns the next."""
    tell("the world")
    simulate(world, folder / "data")
    index = IndexSettings(backend="in_process", kind="HNSW")
    # A first version is judged by a training of its own, of which nothing is asked here.
    unjudged = EvaluationSettings(first_version=False)
    settings = Settings(home=folder / "home", index=index, evaluation=unjudged)
    made, start, parent = list[Offered](), world.window.start, None
    for end in (world.window.end - 2 * _DAY, world.window.end - _DAY):
        update = FullUpdate(settings, str(folder / "data"), Window(start=start, end=end), parent)
        tell(f"version {len(made) + 1}, groups of features included")
        full_steps.train(update, how.to_yaml())
        made.append(_offered(update))
        start, parent = end, made[-1].manifest.full_version
    return made


def _offered(update: FullUpdate) -> Offered:
    full_steps.register(update)
    full_steps.export_vectors(update)
    full_steps.package_tower(update, package)
    full_steps.build_index(update)
    manifest, end = full_steps.offer(update), update.window.end
    return Offered(update.settings, update.data, update.files(), manifest, Window(start=end, end=end + _DAY))
