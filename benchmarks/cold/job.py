"""One training of the cold start benchmark, and what it finds; a module of its own, so that a fresh process imports it.

The catalogue that is learned holds the items that had arrived; the one that is asked holds those of the last day, too.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from benchmarks.kept_run import KeptRun, UserValues
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import DAY_US, FEATURES_FILE, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import write_table
from pagoda.data.spec import write_spec
from pagoda.data.window import Window
from pagoda.evaluation.metrics import recall
from pagoda.evaluation.offline import ask
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import rank
from pagoda.simulation import World
from pagoda.simulation.config import WorldConfig
from pagoda.simulation.features import SPEC, items_table
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

WORLD = WorldConfig(users=3_000, items=3_000, days=9, events=900_000, seed=17, new_users=0.1, new_items=0.5)
"""Half of the items arrive after the start, about 170 a day."""
ROWS = {
    "OOV row": None,
    "category means": {"by": "category"},
    "tag means": {"by": "tags"},
}
"""What stands for an item without a row. The first is what the others are compared with."""
SEEDS = 3
ASKED = "each"
"""Under which a training keeps what it was asked: every positive of the last day that is no repetition."""
_CONFIG = {"model": {"dim": 32, "feature_dim": 8}, "bootstrap_epochs": 4, "device": "cpu"}
_K = 50


def train_and_ask(name: str, seed: int, data: Path, known: Path, folder: Path) -> tuple[str, int, KeptRun]:
    """Learn all but the last day of `data` over the items in `known`, and ask that day over all that there are.

    Values are NaN where a positive is not of a metric's group: items younger than a day, and the others.
    """
    torch.set_num_threads(1)
    learned, asked = _windows(Dataset.open(data))
    config = TrainConfig.model_validate(_CONFIG | {"seed": seed, "cold": ROWS[name]})
    files = full_update(Dataset.open(known), learned, None, config, folder / f"{name}-{seed}", programs=False)
    dataset, arrival_us = Dataset.open(data), World.open(data).item_table.arrival_us
    questions = ask(dataset, asked, protocol="each", limit=30_000, seed=0)
    rows, towers = questions.rows, OpenVersion(files, dataset)
    vectors = towers.user_vectors(rows.users, rows.times_us, questions.histories["live"], rows.context)
    ranks = rank(scorer_of(towers, vectors, towers.item_vectors(), questions.seen), questions.targets, questions.seen)
    # The world's items are numbered from 1.
    young = rows.times_us - arrival_us[rows.items - 1] < DAY_US
    found = recall(ranks, _K)
    values = {"all": found, "young": np.where(young, found, np.nan), "older": np.where(young, np.nan, found)}
    return name, seed, KeptRun({ASKED: UserValues(rows.users, values)}, {"young": int(young.sum())})


def without_later_items(data: Path, out: Path) -> None:
    """The dataset folder `data` of a world once more in `out`, without the items that arrive on its last day."""
    world, learned = World.open(data), _windows(Dataset.open(data))[0]
    table = items_table(world)
    there = table.filter(world.item_table.arrival_us < learned.end_us)
    with new_dataset(out) as folder:
        write_spec(SPEC, folder / FEATURES_FILE)
        for name in ("interactions", "users"):
            (folder / name).symlink_to(data / name)
        write_table(folder / "items", iter(there.to_batches()), schema_of(SPEC, "items"))


def _windows(dataset: Dataset) -> tuple[Window, Window]:
    span = dataset.span()
    cut = WORLD.window.end - timedelta(days=1)
    return Window(start=span.start, end=cut), Window(start=cut, end=span.end)
