"""One training of the cold start benchmark, and what it finds; a module of its own, so that a fresh process imports it.

The catalogue that is learned holds the items that had arrived; the one that is asked holds those of the last day, too.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cold.datasets import Said, declare
from benchmarks.kept_run import KeptRun, UserValues
from pagoda.config.training import TrainConfig
from pagoda.data.layout import DAY_US
from pagoda.data.window import Window
from pagoda.evaluation.metrics import recall
from pagoda.evaluation.offline import ask
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.positives import PositiveRows
from pagoda.evaluation.ranking import rank
from pagoda.model.table_inputs import no_histories
from pagoda.simulation import World
from pagoda.simulation.config import WorldConfig
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

WORLD = WorldConfig(users=3_000, items=3_000, days=9, events=900_000, seed=17, new_users=0.3, new_items=0.5)
"""Half of the items arrive after the start, about 170 a day, and about 100 users a day."""
_CUT = WORLD.window.end - timedelta(days=1)
LEARNED, LAST_DAY = Window(start=WORLD.start, end=_CUT), Window(start=_CUT, end=WORLD.window.end)


class Row(NamedTuple):
    """What differs."""

    cold: dict[str, str] | None = None
    said: Said = "undeclared"
    """Of users' interests, when the version is asked; while it learns nobody says any."""


_INTERESTS = {"users": "interests", "by": "tags"}
ROWS = {
    "nothing": Row(),
    "category means of items": Row({"items": "category_mean", "by": "category"}),
    "tag means of items": Row({"items": "category_mean", "by": "tags"}),
    "interests, not said": Row(_INTERESTS, "nothing"),
    "interests, three said": Row(_INTERESTS, "truth"),
}
"""The first is what the others are compared with."""
SEEDS = 3
ASKED, NEWCOMERS = "each", "newcomers"
"""Under which a training keeps what it was asked: every positive of the last day that is no repetition, and the first
answers to those who come on that day."""
_CONFIG: dict[str, Any] = {"model": {"dim": 32, "feature_dim": 8}, "bootstrap_epochs": 4, "device": "cpu"}
_K, _SHOWN, _ROWS = 50, 5, 30_000
_SESSION_US = 1_800_000_000


def train_and_ask(name: str, seed: int, data: Path, folder: Path) -> tuple[str, KeptRun]:
    """Learn all but the last day of `data` over the items of then, and ask that day over all that there are.

    Values are NaN where a positive is not of a metric's group: on items younger than a day, on others, and of the first
    half hour of users who came on the last day.
    """
    torch.set_num_threads(1)
    row, out = ROWS[name], folder / f"{name.replace(' ', '-')}-{seed}"
    config = TrainConfig.model_validate(_CONFIG | {"seed": seed, "cold": row.cold})
    said: Said = "undeclared" if row.said == "undeclared" else "nothing"
    known = declare(data, out.with_suffix(".known"), said, LEARNED.end_us)
    files = full_update(known, LEARNED, None, config, out, programs=False)
    dataset = declare(data, out.with_suffix(".asked"), row.said, LAST_DAY.end_us)
    questions = ask(dataset, LAST_DAY, protocol="each", limit=_ROWS, seed=0)
    rows, towers = questions.rows, OpenVersion(files, dataset)
    vectors = towers.user_vectors(rows.users, rows.times_us, questions.histories["live"], rows.context)
    ranks = rank(scorer_of(towers, vectors, towers.item_vectors(), questions.seen), questions.targets, questions.seen)
    found, groups = recall(ranks, _K), _groups(World.open(data), rows)
    values = {group: np.where(there, found, np.nan) for group, there in groups.items()}
    facts = {group: int(there.sum()) for group, there in groups.items()}
    asked = {ASKED: UserValues(rows.users, values), NEWCOMERS: _first_answers(World.open(data), towers)}
    return name, KeptRun(asked, facts)


def _first_answers(world: World, towers: OpenVersion) -> UserValues:
    """Clicks that the world expects on the first items that users get who come on the last day, as they come."""
    users, arrival_us = world.user_ids, world.user_table.arrival_us
    new = arrival_us >= LAST_DAY.start_us
    users, moments = users[new], arrival_us[new]
    scores = towers.user_vectors(users, moments, no_histories(len(users))) @ towers.item_vectors().T
    there = world.item_table.arrival_us <= moments[:, None]
    shown = np.argsort(-np.where(there, scores, -np.inf), axis=1)[:, :_SHOWN] + 1
    clicks = world.preferences(users, shown, moments).sum(axis=1)
    return UserValues(users, {f"clicks of {_SHOWN}": clicks.astype(np.float64)})


def _groups(world: World, rows: PositiveRows) -> dict[str, NDArray[np.bool_]]:
    """Which positives are of each group, bool [rows]."""
    # The world's users and items are numbered from 1.
    young = rows.times_us - world.item_table.arrival_us[rows.items - 1] < DAY_US
    came = world.user_table.arrival_us[rows.users - 1]
    first = np.full(world.config.users + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, rows.users, rows.times_us)
    session = (came >= LAST_DAY.start_us) & (rows.times_us < first[rows.users] + _SESSION_US)
    every = np.ones(len(rows), np.bool_)
    return {"all": every, "young items": young, "older items": ~young, "first sessions": session}
