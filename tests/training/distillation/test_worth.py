"""What teachers are worth, in a world whose truth is known: the truth helps, a shuffled one that is believed harms."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from benchmarks.ablation.teacher import write_truth
from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.metrics import recall
from pagoda.evaluation.offline import Questions, ask
from pagoda.evaluation.ranking import DotScorer, rank
from pagoda.simulation import World, simulate
from pagoda.simulation.config import WorldConfig
from pagoda.training.distillation.score_file import Teacher
from pagoda.training.full.loop import Silent
from pagoda.training.full.own_teacher import RANKS, OwnTeacher
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.update import full_update
from pagoda.updates.mining.mine import mine
from pagoda.version_files.open_version import OpenVersion

WORLD = WorldConfig(users=500, items=600, days=4, events=60_000, seed=5, new_users=0.0)
PLAIN = "{bootstrap_epochs: 4, batch_size: 256, model: {dim: 32}, negatives: {uniform: 256}%s}"


def trained(how: TrainConfig, dataset: Dataset, learned: Window, out: Path, beside: SideInputs) -> OpenVersion:
    return OpenVersion(full_update(dataset, learned, None, how, out, beside=beside, programs=False), dataset)


def found(towers: OpenVersion, questions: Questions) -> np.ndarray:
    """Of each question whether its item is among the best 50."""
    rows = questions.rows
    vectors = towers.user_vectors(rows.users, rows.times_us, questions.histories["live"], rows.context)
    return recall(rank(DotScorer(vectors, towers.item_vectors()), questions.targets, questions.seen), 50)


@pytest.mark.long
def test_the_truth_helps_and_a_shuffled_one_that_is_believed_harms(tmp_path: Path) -> None:
    simulate(WORLD, tmp_path / "data")
    dataset, world = Dataset.open(tmp_path / "data"), World.open(tmp_path / "data")
    span, cut = dataset.span(), WORLD.window.end - timedelta(days=1)
    learned, asked = Window(start=span.start, end=cut), Window(start=cut, end=span.end)
    truth, shuffled = tmp_path / "truth", tmp_path / "shuffled"
    write_truth(world, learned.end_us, truth)
    table = pq.read_table(truth)
    order = np.random.default_rng(0).permutation(table.num_rows)
    pq.write_table(table.set_column(2, "score", table["score"].take(order)), shuffled)
    plain, taught = parse_config(PLAIN % ""), parse_config(PLAIN % ", distillation: {}")
    believing = parse_config(PLAIN % ", distillation: {weight: 5}")
    questions = ask(dataset, asked, protocol="each", limit=5_000, seed=0)
    values = np.stack(
        [
            found(trained(how, dataset, learned, tmp_path / str(number), beside), questions)
            for number, (how, beside) in enumerate(
                [
                    (plain, NOTHING_BESIDE),
                    (taught, SideInputs(teacher=Teacher(truth))),
                    (believing, SideInputs(teacher=Teacher(shuffled))),
                ]
            )
        ],
        axis=1,
    )
    samples = resample(values, questions.rows.users).samples
    gain, harm = (interval(samples[:, column] - samples[:, 0]) for column in (1, 2))
    print("Recall@50", values.mean(0), "gain", gain, "harm", harm)  # noqa: T201 - for docs/training.md
    assert gain[0] > 0
    assert harm[1] < 0


@pytest.mark.long
def test_our_own_teacher_knows_what_users_want_among_what_was_found(tmp_path: Path) -> None:
    """Nearer to the truth than to chance; what its students gain is printed, since it is no promise."""
    simulate(WORLD, tmp_path / "data")
    dataset, world = Dataset.open(tmp_path / "data"), World.open(tmp_path / "data")
    span, cut = dataset.span(), WORLD.window.end - timedelta(days=1)
    learned, asked = Window(start=span.start, end=cut), Window(start=cut, end=span.end)
    plain = parse_config(PLAIN % "")
    files = full_update(dataset, learned, None, plain, tmp_path / "plain", programs=False)
    mine(dataset, files, tmp_path / "found", ranks=RANKS)
    OwnTeacher.trained(dataset, learned, plain, Silent()).write_scores(tmp_path / "found", tmp_path / "own")
    users, items, scores = (column.to_numpy() for column in pq.read_table(tmp_path / "own").columns)
    ends = np.flatnonzero(np.diff(users, append=-1)) + 1
    lists = list(zip(np.split(items, ends[:-1]), np.split(scores, ends[:-1]), users[ends - 1], strict=True))
    agrees = [
        spearmanr(said, world.preferences(np.array([user]), these[None], learned.end_us)[0]).statistic
        for these, said, user in lists
    ]
    taught = SideInputs(teacher=Teacher(tmp_path / "own"))
    questions = ask(dataset, asked, protocol="each", limit=5_000, seed=0)
    values = [found(OpenVersion(files, dataset), questions)]
    for kind in ("listwise", "margin"):
        how = parse_config(PLAIN % f", distillation: {{kind: {kind}}}")
        values.append(found(trained(how, dataset, learned, tmp_path / kind, taught), questions))
    samples = resample(np.stack(values, 1), questions.rows.users).samples
    gains = [interval(samples[:, place] - samples[:, 0]) for place in (1, 2)]
    print("agreement", np.mean(agrees), "Recall@50", np.mean(values, 1), "gains", gains)  # noqa: T201 - for the docs
    assert np.mean(agrees) > 0.1
