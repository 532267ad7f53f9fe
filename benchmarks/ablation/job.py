"""One row of the ablation; a module of its own, so that a fresh process can import it."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.ablation.features import declare
from benchmarks.ablation.teacher import write_truth
from benchmarks.ablation.techniques import BASE, BASELINE, Technique
from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.kept_run import KeptRun, UserValues
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
from pagoda.training.full.loop import Silent
from pagoda.training.full.own_teacher import RANKS, OwnTeacher
from pagoda.training.full.side_inputs import SideInputs
from pagoda.training.full.update import full_update, open_version
from pagoda.updates import mining
from pagoda.updates.mining.mine import mine
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

WORLD = WorldConfig(users=3_000, items=2_000, days=9, events=900_000, seed=11, new_users=0.0)
"""Features, histories, impressions and rejections: every technique has what it needs."""
_ASKED = timedelta(days=1)
_ROWS = 15_000
METRICS = ("recall@50", "ndcg@10", "recall@50 tail", "recall@50 head")


ASKED = "each"
"""Under which a row keeps what it was asked: every positive of the last day."""
_FURTHER = ("features", "job", "teacher", "techniques")


def code_of_rows() -> str:
    """Checksum of all the code that a row follows from."""
    own = (Path(__file__).with_name(f"{name}.py") for name in _FURTHER)
    return code_checksum(LEARNING, (*own, *sorted(Path(mining.__file__).parent.glob("*.py"))))


def one(technique: Technique, data: Path, folder: Path) -> tuple[str, KeptRun]:
    """Train with a technique on all but the last day of `data`, and ask what was chosen on that day.

    A metric of a question that is not of the metric's group is NaN.
    """
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
    ranks = rank(scorer_of(towers, vectors, items, questions.seen), questions.targets, questions.seen)
    third = thirds(questions.clicks)[questions.targets]
    found = recall(ranks, 50)
    by_third = {name: np.where(third == place, found, np.nan) for place, name in enumerate(THIRDS)}
    values = dict(zip(METRICS, (found, ndcg(ranks, 10), by_third["tail"], by_third["head"]), strict=True))
    return technique.name, KeptRun({ASKED: UserValues(rows.users, values)}, {"cpu_seconds": seconds})


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
    teacher = _teacher(technique, dataset, learned, first, out.with_suffix(".scores"))
    relevance = open_version(first) if technique.relevance else None
    config, begin = TrainConfig.model_validate(BASE | technique.change), time.process_time()
    files = full_update(dataset, learned, None, config, out, beside=SideInputs(mined, teacher, relevance))
    return files, time.process_time() - begin


def _teacher(technique: Technique, dataset: Dataset, learned: Window, first: Path, path: Path) -> Teacher | None:
    """Who is distilled; the scores come to `path`. What they cost is no part of a row's seconds."""
    if technique.taught is None:
        return None
    if technique.taught == "truth":
        write_truth(World.open(dataset.path), learned.end_us, path)
    else:
        files, found = open_version(first), path.with_suffix(".found")
        mine(dataset, files, found, ranks=RANKS)
        OwnTeacher.trained(dataset, learned, files.config, Silent()).write_scores(found, path)
    return Teacher(path)


def _windows(dataset: Dataset) -> tuple[Window, Window]:
    span = dataset.span()
    cut = span.end - _ASKED
    return Window(start=span.start, end=cut), Window(start=cut, end=span.end)


def _widened(vectors: NDArray[np.float32], last: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.column_stack([vectors, last]).astype(np.float32)
