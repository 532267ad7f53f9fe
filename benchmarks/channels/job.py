"""One set, learned and asked; a module of its own, so that a fresh process can import it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.channels.rule import K, rule
from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.leaderboard.baselines import LearnedLog
from benchmarks.leaderboard.models import tower_scorer
from benchmarks.leaderboard.questions import AskedUsers, ask_users
from benchmarks.leaderboard.sets import BenchmarkSet
from benchmarks.leaderboard.splits import SetSplit, SplitName, cut_in_time, open_splits, split_in_time
from pagoda.channels.factory import TABLES
from pagoda.channels.mixture import open_mixture
from pagoda.data.dataset import Dataset
from pagoda.errors import DataError
from pagoda.evaluation.channels.asking import ask_mixture
from pagoda.evaluation.channels.estimates import mixture_figures
from pagoda.evaluation.channels.known_users import KnownUsers
from pagoda.evaluation.metrics import thirds
from pagoda.evaluation.report import MixtureFigures
from pagoda.storage.atomic import write_atomic
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles

VALIDATION: SplitName = "validation"


@dataclass(frozen=True)
class ChannelsJob:
    """A set, and which part of it is asked."""

    which: BenchmarkSet
    folder: Path
    """Of the set and the code."""
    validation: bool
    """Whether what is learned by the test's split is itself split, and the test left alone."""

    @property
    def kept_at(self) -> Path:
        """Where the figures are kept."""
        return self.folder / f"{VALIDATION if self.validation else 'test'}.json"


def code_of_figures() -> str:
    """Checksum of all the code that figures follow from."""
    own = [Path(__file__).with_name(f"{name}.py") for name in ("rule", "job")]
    shared = Path(__file__).parents[1] / "leaderboard"
    further = [shared / f"{name}.py" for name in ("sets", "splits", "questions", "models")]
    return code_checksum((*LEARNING, "channels"), (*own, *further))


def one(job: ChannelsJob) -> MixtureFigures:
    """Learn and ask a set, and keep what was found.

    Raises:
        DataError: It cannot be read or split, or nobody chose anything new.
        ConfigError: It does not fit the rule.
    """
    torch.set_num_threads(1)
    split = split_of(job)
    asked = ask_users(job.folder, split)
    with tempfile.TemporaryDirectory(prefix="channels-") as folder:
        files = full_update(
            asked.dataset, split.learned, None, rule(split.learned), Path(folder) / "version", programs=False
        )
        found = figures(files, asked, split)
    write_atomic(job.kept_at, found.model_dump_json(indent=1).encode())
    return found


def split_of(job: ChannelsJob) -> SetSplit:
    """The time split of a set, of one without times leave-one-out; its dataset lies in the job's folder.

    Raises:
        DataError: It cannot be read or split.
    """
    split = open_splits(job.which, job.folder)[-1]
    if not job.validation:
        return split
    if split.name != "time":
        raise DataError(f"{job.which.name}: has no times, so no part of it is for validation; name a set with times")
    path = job.folder / VALIDATION
    if not path.exists():
        cut_in_time(Dataset.open(job.folder / split.name), split.learned, path)
    return split_in_time(Dataset.open(path), VALIDATION)


def figures(files: FullVersionFiles, asked: AskedUsers, split: SetSplit) -> MixtureFigures:
    """What a version's channels find of what is asked."""
    (found,) = ask_mixture(
        open_mixture(files.folder / TABLES, files.config.channels, files.config.merging),
        KnownUsers(asked.dataset, asked.rows, asked.histories),
        tower_scorer(files, asked),
        asked.catalogue,
        relevant=asked.relevant,
        excluded=asked.had,
        at=[K],
    )
    clicks = LearnedLog(asked, split.learned, 0).clicks
    return mixture_figures(found, asked.relevant, thirds(clicks), asked.rows.users, seed=0)
