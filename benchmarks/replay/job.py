"""One replay of the benchmark; a module of its own, so that a fresh process can import it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import xxhash

import benchmarks.replay.settings
from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.replay.settings import MOVIELENS_REPLAY, WORLD_REPLAY, world
from pagoda.config.training import parse_config, read_config
from pagoda.data.dataset import Dataset
from pagoda.data.imports.movielens import import_movielens
from pagoda.replay.dataset_view import view_without_history
from pagoda.replay.replay import replay
from pagoda.replay.report import ReplayReport
from pagoda.simulation import Drift, simulate

HISTORY = {False: "without_history", True: "with_history"}
_ROOMS = (*LEARNING, "replay")
"""Of the library, what a replay's result follows from."""


@dataclass(frozen=True)
class Job:
    """One replay."""

    drift: Drift | None
    """Of a world; None for MovieLens-100K."""
    history: bool
    seed: int
    config: Path | None
    window_days: int = 1

    @property
    def name(self) -> str:
        """Of its plot, too."""
        what = f"world-{self.drift}" if self.drift else "movielens-100k"
        every = f"-{self.window_days}-days" if self.window_days > 1 else ""
        return f"{what}-{HISTORY[self.history]}{f'-{self.seed}' if self.drift else ''}{every}"

    @property
    def labels(self) -> tuple[str, str]:
        """For a table: the drift, or MovieLens; with or without a history."""
        return self.drift.value if self.drift else "MovieLens", "with" if self.history else "without"

    @property
    def key(self) -> str:
        """What its result follows from: the same key, the same result."""
        config = self.config.read_bytes() if self.config else b""
        code = code_checksum(_ROOMS, (Path(benchmarks.replay.settings.__file__),))
        return xxhash.xxh3_64_hexdigest(f"{self.name} {code} ".encode() + config)


def one(job: Job) -> tuple[Job, ReplayReport]:
    """Make the data of a job and replay it."""
    torch.set_num_threads(1)
    train = read_config(job.config) if job.config else parse_config("")
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        data = Path(folder) / "data"
        if job.drift is None:
            import_movielens(data)
        else:
            simulate(world(job.drift, job.seed), data)
        if not job.history:
            data = view_without_history(data, Path(folder) / "view")
        settings = MOVIELENS_REPLAY if job.drift is None else WORLD_REPLAY
        settings = settings.model_copy(update={"window_days": job.window_days})
        return job, replay(Dataset.open(data), settings, train, Path(folder))
