"""One table of users on one set, learned and asked; a module of its own, so that a fresh process can import it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.kept_run import KeptRun, UserValues
from benchmarks.leaderboard.models import tower_scorer
from benchmarks.leaderboard.questions import ask_users
from benchmarks.leaderboard.sets import BenchmarkSet
from benchmarks.leaderboard.splits import SetSplit, open_splits
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import FEATURES_FILE
from pagoda.data.new_folder import new_dataset
from pagoda.data.spec import write_spec
from pagoda.evaluation.relevance import find
from pagoda.simulation import WorldConfig
from pagoda.training.full.update import full_update

_WORLD = BenchmarkSet("world", WorldConfig(users=3_000, items=1_000, days=9, events=200_000, seed=31, new_users=0.2))
_MOVIELENS = BenchmarkSet("movielens-100k", None)
SETS = {
    f"{which.name}, {split}{', no histories' if without else ''}": (which, split, without)
    for which, split in ((_MOVIELENS, "leave-one-out"), (_WORLD, "time"))
    for without in (False, True)
}
"""By name: the set, how it is split, and whether histories are left out. The world has new users and features;
MovieLens as sequences has neither, so that without histories nothing but the ID row is known."""
FULL, SHARED, HALF, CUT = "full", "shared", "half own, half shared", "cut"
TABLES: dict[str, tuple[str, Fraction]] = {FULL: (FULL, Fraction(1))} | {
    f"1/{parts}, {kind}": (kind, Fraction(1, parts)) for parts in (2, 4, 10) for kind in (SHARED, HALF, CUT)
}
"""By name: who has rows, and how many there are of those of a full table."""
ASKED = "each"
RECALL, ROWS_OF = "recall@50", ("all", "active half", "other half", "new")
_WITHOUT = "no-histories"


@dataclass(frozen=True)
class HashedJob:
    """A table on a set, with a seed."""

    set_name: str
    folder: Path
    """Of all sets."""
    table: str
    seed: int

    @property
    def kept_at(self) -> Path:
        """Where the row is kept."""
        return self.folder / "rows" / f"{self.set_name}-{self.table.replace('/', ' of ')}-{self.seed}.npz"


def code_of_rows() -> str:
    """Checksum of all the code that a row follows from."""
    shared = Path(__file__).parents[1] / "leaderboard"
    return code_checksum(LEARNING, (Path(__file__), *(shared / f"{name}.py" for name in ("sets", "splits", "models"))))


def prepare_sets(names: Iterable[str], folder: Path) -> None:
    """Make the splits, so that no two processes do."""
    for name in names:
        _open(name, folder)


def one(job: HashedJob) -> KeptRun:
    """Learn and ask, and keep what was found: Recall@50 of each user, NaN where one is not of a group."""
    torch.set_num_threads(1)
    within, split = _open(job.set_name, job.folder)
    asked = ask_users(within, split)
    users, positives = _activity(asked.dataset, split)
    changes: dict[str, Any] = {"seed": job.seed, "device": "cpu", "user_rows": rows_of(job.table, len(users))}
    config = TrainConfig.model_validate(changes)
    with tempfile.TemporaryDirectory(prefix="hashed-") as version:
        files = full_update(asked.dataset, split.learned, None, config, Path(version) / "out", programs=False)
        found = find(tower_scorer(files, asked), asked.relevant, asked.had, 50).metrics((RECALL,))[RECALL]
        rows = len(files.users) + len(files.users.shared)
    half = np.sort(positives)[len(positives) // 2]
    place = np.minimum(np.searchsorted(users, asked.rows.users), len(users) - 1)
    known = users[place] == asked.rows.users
    active = known & (positives[place] >= half)
    groups = dict(zip(ROWS_OF, (np.ones_like(known), active, known & ~active, ~known), strict=True))
    values = {group: np.where(there, found, np.nan) for group, there in groups.items()}
    run = KeptRun({ASKED: UserValues(asked.rows.users, values)}, {"rows": rows, "users": len(users)})
    run.write(job.kept_at)
    return run


def rows_of(table: str, users: int) -> dict[str, int] | None:
    """The memory of so many rows, divided among those of one user each and shared ones."""
    kind, share = TABLES[table]
    if kind == FULL:
        return None
    rows = max(int(users * share), 3)
    own = {SHARED: 1, HALF: rows // 2, CUT: rows}[kind]
    return {"own": own, "shared": rows - own}


def _open(name: str, folder: Path) -> tuple[Path, SetSplit]:
    """The folder that has the split's dataset below it, and the split."""
    which, wanted, without = SETS[name]
    (split,) = (each for each in open_splits(which, folder / which.name) if each.name == wanted)
    if not without:
        return folder / which.name, split
    within, source = folder / which.name / _WITHOUT, Dataset.open(folder / which.name / split.name)
    if not (within / split.name).exists():
        within.mkdir(exist_ok=True)
        with new_dataset(within / split.name) as made:
            write_spec(source.spec.model_copy(update={"history": None}), made / FEATURES_FILE)
            for part in ("interactions", "users", "items"):
                (made / part).symlink_to(source.path.resolve() / part, target_is_directory=True)
    return within, split


def _activity(dataset: Dataset, split: SetSplit) -> tuple[np.ndarray, np.ndarray]:
    """Who has positives in what is learned, int64 [u] ascending, and how many, int64 [u]."""
    batches = dataset.batches(split.learned, events=dataset.spec.positives, columns=["user_id"])
    return np.unique(np.concatenate([batch["user_id"].to_numpy() for batch in batches]), return_counts=True)
