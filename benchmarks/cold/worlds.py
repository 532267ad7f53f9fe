"""Worlds of the benchmark, and each as its platform knew it: with the items that had come, and what users say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from pagoda.data.dataset import Dataset
from pagoda.data.layout import FEATURES_FILE, INTERESTS, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import write_table
from pagoda.data.spec import MultiValued, write_spec
from pagoda.data.window import Window
from pagoda.simulation import World
from pagoda.simulation.config import WorldConfig
from pagoda.simulation.features import SPEC, items_table, users_table

Said = Literal["undeclared", "nothing", "truth"]
"""Of users' interests: no such feature, nobody says any, or all say the three topics nearest to their lasting taste."""
_SAID = 3


def world_of(seed: int) -> WorldConfig:
    """A small world with much traffic: about 75 items and 150 users come each day."""
    return WorldConfig(users=2_000, items=600, days=4, events=400_000, seed=seed, new_users=0.3, new_items=0.5)


def learned(world: WorldConfig) -> Window:
    """All but the last day."""
    return Window(start=world.start, end=last_day(world).start)


def last_day(world: WorldConfig) -> Window:
    """What is asked, and answered."""
    return Window(start=world.window.end - timedelta(days=1), end=world.window.end)


def declare(data: Path, out: Path, said: Said, until_us: int) -> Dataset:
    """The dataset folder `data` of a world once more in `out`, with the items that arrive before a moment."""
    world, spec = World.open(data), SPEC
    users, items = users_table(world), items_table(world)
    if said != "undeclared":
        feature = MultiValued(name=INTERESTS, tower="user", max_values=_SAID)
        spec = SPEC.model_copy(update={"features": (*SPEC.features, feature)})
        values = _truth(world) if said == "truth" else [None] * len(users)
        users = users.append_column(INTERESTS, pa.array(values, pa.list_(pa.string())))
    with new_dataset(out) as folder:
        write_spec(spec, folder / FEATURES_FILE)
        (folder / "interactions").symlink_to(data / "interactions")
        write_table(folder / "users", iter(users.to_batches()), schema_of(spec, "users"))
        there = items.filter(pa.array(world.item_table.arrival_us < until_us))
        write_table(folder / "items", iter(there.to_batches()), schema_of(spec, "items"))
    return Dataset.open(out)


def _truth(world: World) -> list[list[str]]:
    """As tags: every second item has its topic as one."""
    nearest = np.argsort(-(world.user_table.taste @ world.topics.T), axis=1)[:, :_SAID]
    return [[f"tag-{topic:02d}" for topic in topics] for topics in nearest.tolist()]
