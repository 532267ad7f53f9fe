"""One training of the benchmark, and what it finds; a module of its own, so that a fresh process imports it.

The catalogue that is learned holds the items that had come; the one that is asked holds those of the last day, too.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cold.day import ActedDay
from benchmarks.cold.worlds import Said, declare, last_day, learned, world_of
from benchmarks.kept_run import KeptRun, UserValues
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import DAY_US
from pagoda.evaluation.metrics import recall
from pagoda.evaluation.offline import ask
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.positives import PositiveRows
from pagoda.evaluation.ranking import rank
from pagoda.simulation import World, simulate
from pagoda.simulation.visits import VisitRequests
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

ASKED, SESSIONS, DAY = "each", "sessions", "day"
"""Under which a training keeps what it was asked: every positive of the last day in the log that is no repetition, the
first sessions of those who come on that day, and the whole day, these two as its own answers made them."""
CLICKS, NEW_ITEMS, KNOWN_ITEMS = "clicks", "new items", "known items"
KNOWN_FROM = 20
"""Clicks of a day from which on an item is known."""
_CONFIG: dict[str, Any] = {"model": {"dim": 32, "feature_dim": 8}, "bootstrap_epochs": 4, "device": "cpu"}
_K, _ROWS = 50, 30_000
_SESSION_US = 1_800_000_000


@dataclass(frozen=True)
class Row:
    """What differs."""

    cold: dict[str, str] | None = None
    said: Said = "undeclared"
    """Of users' interests, when the version is asked; while it learns nobody says any."""
    channels: tuple[dict[str, Any], ...] = ({"kind": "two_tower", "share": 1.0},)


NOTHING, INTERESTS, TAGS, EXPLORED = "nothing", "interests, three said", "tag means", "tag means, fresh, explore"
_TAGS = {"items": "category_mean", "by": "tags"}
ROWS = {
    NOTHING: Row(),
    TAGS: Row(_TAGS),
    EXPLORED: Row(
        _TAGS,
        channels=(
            {"kind": "two_tower", "share": 0.85},
            {"kind": "fresh", "share": 0.05, "days": 1.0},
            {"kind": "explore", "share": 0.1, "days": 1.0, "nearest": 20},
        ),
    ),
    INTERESTS: Row({"users": "interests", "by": "tags"}, "truth"),
}
"""The first is what the others are compared with."""


@dataclass(frozen=True)
class ColdJob:
    """A row in the world of a seed."""

    row: str
    seed: int
    kept_at: Path
    """Where what it found is kept."""


def train_and_ask(job: ColdJob) -> KeptRun:
    """Learn all but the last day of a world, ask that day over all items, answer it, and keep what was found."""
    torch.set_num_threads(1)
    world = World(world_of(job.seed))
    known, requests = learned(world.config), world.requests(world.config.days - 1)
    with tempfile.TemporaryDirectory(prefix="pagoda-cold-") as folder:
        files, dataset = _learn(job, world, Path(folder))
        found = _recall(world, files, dataset)
        sessions = ActedDay(world, files, dataset, known).live(_first_sessions(world, requests), job.seed)
        lived = ActedDay(world, files, dataset, known).live(requests, job.seed)
    asked = {
        ASKED: found,
        SESSIONS: UserValues(sessions.users, {CLICKS: sessions.expected}),
        DAY: UserValues(lived.users, {CLICKS: lived.expected}),
    }
    run = KeptRun(asked, _became_known(world, lived.clicks))
    run.write(job.kept_at)
    return run


def _learn(job: ColdJob, world: World, folder: Path) -> tuple[FullVersionFiles, Dataset]:
    """A version of the items that had come, and the dataset by which it is asked."""
    row, data, known = ROWS[job.row], folder / "data", learned(world.config)
    simulate(world.config, data)
    config = TrainConfig.model_validate(_CONFIG | {"seed": job.seed, "cold": row.cold, "channels": row.channels})
    said: Said = "undeclared" if row.said == "undeclared" else "nothing"
    before = declare(data, folder / "known", said, known.end_us)
    files = full_update(before, known, None, config, folder / "version", programs=False)
    return files, declare(data, folder / "asked", row.said, last_day(world.config).end_us)


def _recall(world: World, files: FullVersionFiles, dataset: Dataset) -> UserValues:
    """Recall of the last day's positives, NaN where one is not of a group."""
    questions = ask(dataset, last_day(world.config), protocol="each", limit=_ROWS, seed=0)
    rows, towers = questions.rows, OpenVersion(files, dataset)
    vectors = towers.user_vectors(rows.users, rows.times_us, questions.histories["live"], rows.context)
    ranks = rank(scorer_of(towers, vectors, towers.item_vectors(), questions.seen), questions.targets, questions.seen)
    found = recall(ranks, _K)
    return UserValues(
        rows.users, {group: np.where(there, found, np.nan) for group, there in _groups(world, rows).items()}
    )


def _groups(world: World, rows: PositiveRows) -> dict[str, NDArray[np.bool_]]:
    """Which positives are of each group, bool [rows]."""
    # The world's users and items are numbered from 1.
    young = rows.times_us - world.item_table.arrival_us[rows.items - 1] < DAY_US
    return {"all": np.ones(len(rows), np.bool_), "young items": young, "older items": ~young}


def _first_sessions(world: World, requests: VisitRequests) -> VisitRequests:
    """Those of the first half hour of users who come on the last day."""
    new = world.user_table.arrival_us[requests.users - 1] >= last_day(world.config).start_us
    first = np.full(world.config.users + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, requests.users, requests.times_us)
    chosen = new & (requests.times_us < first[requests.users] + _SESSION_US)
    return VisitRequests(requests.users[chosen], requests.times_us[chosen])


def _became_known(world: World, clicks: NDArray[np.int64]) -> dict[str, int]:
    """Of the items that came on the last day that was learned, how many have so many clicks a day later.

    Clicks of that day alone count. The log shows next to none of them before: the world's own recommender looks for new
    items at midnight.
    """
    start_us, arrival_us = last_day(world.config).start_us, world.item_table.arrival_us
    new = (arrival_us >= start_us - DAY_US) & (arrival_us < start_us)
    return {NEW_ITEMS: int(new.sum()), KNOWN_ITEMS: int((clicks[new] >= KNOWN_FROM).sum())}
