"""One row of the ablation; a module of its own, so that a fresh process can import it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.ablation.features import declare
from benchmarks.ablation.teacher import write_truth
from benchmarks.ablation.techniques import BASE, BASELINE, Technique
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.metrics import THIRDS, ndcg, recall, thirds
from pagoda.evaluation.offline import ask
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import rank
from pagoda.simulation import World
from pagoda.simulation.config import WorldConfig
from pagoda.training.distillation.score_file import Teacher
from pagoda.training.full.side_inputs import SideInputs
from pagoda.training.full.update import full_update, open_version
from pagoda.updates.negative_mining import mine
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

WORLD = WorldConfig(users=3_000, items=2_000, days=9, events=900_000, seed=11, new_users=0.0)
"""Features, histories, impressions and rejections: every technique has what it needs."""
_ASKED = timedelta(days=1)
_ROWS = 15_000
METRICS = ("recall@50", "ndcg@10", "recall@50 tail", "recall@50 head")


@dataclass(frozen=True)
class Result:
    """How a row did on the same questions as all others."""

    users: NDArray[np.int64]
    """int64 [rows]: who was asked."""
    values: NDArray[np.float64]
    """float64 [rows, METRICS]; NaN where the row is not of the metric's group."""
    seconds: float
    """Of a processor, for the training."""


def one(technique: Technique, data: Path, folder: Path) -> tuple[str, Result]:
    """Train with a technique on all but the last day of `data`, and ask what was chosen on that day."""
    torch.set_num_threads(1)
    out = folder / technique.name.replace(" ", "-")
    dataset = declare(data, technique.features, out.with_suffix(".data")) if technique.features else Dataset.open(data)
    learned, asked = _windows(dataset)
    files, seconds = _version(technique, dataset, learned, folder, out)
    questions = ask(dataset, asked, protocol="each", limit=_ROWS, seed=0)
    rows, towers = questions.rows, OpenVersion(files, dataset)
    vectors = towers.user_vectors(rows.users, rows.times_us, questions.histories["live"], rows.context)
    items = towers.item_vectors()
    if technique.penalty:
        rises = -technique.penalty * np.log(files.shares(dataset.items()["item_id"].to_numpy()))
        vectors, items = _widened(vectors, np.ones(len(vectors))), _widened(items, rises)
    ranks = rank(scorer_of(towers, vectors, items), questions.targets, questions.seen)
    third = thirds(questions.clicks)[questions.targets]
    found = recall(ranks, 50)
    by_third = {name: np.where(third == place, found, np.nan) for place, name in enumerate(THIRDS)}
    values = np.stack([found, ndcg(ranks, 10), by_third["tail"], by_third["head"]], axis=1)
    return technique.name, Result(rows.users, values, seconds)


def _version(
    technique: Technique, dataset: Dataset, learned: Window, folder: Path, out: Path
) -> tuple[FullVersionFiles, float]:
    """The version to ask, and the seconds of a processor that its training took."""
    first = folder / BASELINE
    if technique.penalty:
        return open_version(first), 0.0
    mined = out.with_suffix(".mined") if technique.mined else None
    if mined:
        mine(dataset, open_version(first), mined)
    teacher = _truth(dataset, learned, out.with_suffix(".scores")) if technique.taught else None
    relevance = open_version(first) if technique.relevance else None
    config, begin = TrainConfig.model_validate(BASE | technique.change), time.process_time()
    files = full_update(dataset, learned, None, config, out, beside=SideInputs(mined, teacher, relevance))
    return files, time.process_time() - begin


def _truth(dataset: Dataset, learned: Window, path: Path) -> Teacher:
    write_truth(World.open(dataset.path), learned.end_us, path)
    return Teacher(path)


def _windows(dataset: Dataset) -> tuple[Window, Window]:
    span = dataset.span()
    cut = span.end - _ASKED
    return Window(start=span.start, end=cut), Window(start=cut, end=span.end)


def _widened(vectors: NDArray[np.float32], last: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.column_stack([vectors, last]).astype(np.float32)
