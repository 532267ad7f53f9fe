"""What stands on the leaderboard: plain baselines, and the towers."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from benchmarks.leaderboard.baselines import BASELINES, LearnedLog, baseline
from benchmarks.leaderboard.questions import AskedUsers
from benchmarks.leaderboard.sets import BenchmarkSet
from benchmarks.leaderboard.splits import SetSplit
from benchmarks.quality.protocol import sizes_of
from benchmarks.quality.settings import TOWERS, Tower, settings
from pagoda.config.training import TrainConfig, parse_config
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import Scorer
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

DEFAULT_TOWER = "default"
"""The towers of the training file that says nothing."""


def models_of(which: BenchmarkSet) -> tuple[str, ...]:
    """The names of what is compared on a set."""
    return (*BASELINES, *((DEFAULT_TOWER,) if which.is_simulated else TOWERS))


def is_random(model: str) -> bool:
    """Whether anything of a model follows from its seed."""
    return model not in BASELINES or model == "iALS"


def learn(model: str, seed: int, split: SetSplit, asked: AskedUsers, folder: Path) -> Scorer:
    """Learn from what the split learns and from nothing else.

    Args:
        model: One of `models_of`.
        seed: Of all that is random in it.
        split: Of which set.
        asked: Its questions, which the scorer scores.
        folder: A new folder for a tower's files.

    Raises:
        DataError: The model cannot be of this set.
    """
    if model in BASELINES:
        return baseline(model, LearnedLog(asked, split.learned, seed))
    config = _config(model, split, asked).model_copy(update={"seed": seed})
    return tower_scorer(full_update(asked.dataset, split.learned, None, config, folder, programs=False), asked)


def tower_scorer(files: FullVersionFiles, asked: AskedUsers) -> Scorer:
    """Scores of a version's towers for what is asked."""
    version, rows = OpenVersion(files, asked.dataset), asked.rows
    vectors = version.user_vectors(rows.users, rows.times_us, asked.histories, rows.context)
    return scorer_of(version, vectors, version.item_vectors(), asked.had)


def _config(model: str, split: SetSplit, asked: AskedUsers) -> TrainConfig:
    if model == DEFAULT_TOWER:
        return parse_config("")
    return settings(cast(Tower, model), sizes_of(asked.dataset, split.learned))
