"""What a teacher says is learned, beside the objective, by whom it is said of; without weight nothing changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.config.negatives import NegativesConfig
from pagoda.config.training import DropoutConfig
from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError
from pagoda.model.table_inputs import no_histories
from pagoda.training.distillation.score_file import Scores, Teacher
from pagoda.training.distillation.scored_lists import ScoredLists
from pagoda.training.full.preparation import prepare
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.update import full_update
from pagoda.training.negatives.hard import HardNegatives, OwnLists
from pagoda.training.negatives.item_choice import Chooser
from pagoda.training.negatives.sampling import NegativeSampler
from pagoda.training.pairs import Pairs
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import ITEMS, KINDS, config, hours, make

NOTHING = DropoutConfig(user=0, item=0, profile=0, history=0)
WINDOW = hours(0, 40)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("distilled") / "data", clicks_an_hour=15)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One who believes that users like the kind after their own."""
    users, items = (axis.ravel() for axis in np.meshgrid(np.arange(50), np.arange(35), indexing="ij"))
    scores = np.where(items % KINDS == (users + 1) % KINDS, 4.0, -4.0)
    path = tmp_path_factory.mktemp("teacher") / "scores.parquet"
    pq.write_table(pa.table({"user_id": users, "item_id": items + 100, "score": scores}), path)
    return path


def believed(files: FullVersionFiles, dataset: Dataset) -> tuple[float, float]:
    """Mean cosine of users with items of their own kind, and of the kind after it."""
    towers, users = OpenVersion(files, dataset), np.arange(50)
    vectors = towers.user_vectors(users, np.full(50, WINDOW.end_us), no_histories(50))
    cosines, kinds = vectors @ towers.item_vectors().T, np.arange(ITEMS)[None] % KINDS
    return float(cosines[kinds == users[:, None] % KINDS].mean()), float(
        cosines[kinds == (users[:, None] + 1) % KINDS].mean()
    )


@pytest.mark.parametrize("kind", ["listwise", "margin"])
def test_a_student_comes_to_believe_its_teacher(dataset: Dataset, teacher: Path, tmp_path: Path, kind: str) -> None:
    """This one is wrong, so who trusts it much recommends what nobody clicks."""
    how = config(bootstrap_epochs=2, distillation={"kind": kind, "weight": 5.0})
    beside = SideInputs(teacher=Teacher(teacher))
    taught = full_update(dataset, WINDOW, None, how, tmp_path / "taught", beside=beside, programs=False)
    own, wrong = believed(taught, dataset)
    assert wrong > own + 0.2


def test_without_weight_a_teacher_changes_nothing(dataset: Dataset, teacher: Path, tmp_path: Path) -> None:
    files = {}
    taught = SideInputs(teacher=Teacher(teacher))
    for name, weight, beside in (("plain", None, NOTHING_BESIDE), ("idle", {"weight": 0}, taught)):
        how = config(bootstrap_epochs=1, distillation=weight)
        files[name] = full_update(dataset, WINDOW, None, how, tmp_path / name, beside=beside, programs=False)
    plain, idle = files["plain"], files["idle"]
    own, wrong = believed(plain, dataset)
    assert own > wrong
    assert plain.metrics()["losses"] == idle.metrics()["losses"]
    for ours, theirs in ((plain.users, idle.users), (plain.items, idle.items)):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
    for name, parameter in plain.parameters().items():
        assert torch.equal(parameter, idle.parameters()[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"learn_temperature": True}, "negatives": {"uniform": 16, "queue": 2, "queue_warm_up": 0}},
        {"objective": {"kind": "triplet_hinge"}},
        {"learn": "sequences", "negatives": {"in_batch": False, "uniform": 16}},
        {"negatives": {"catalogue": True}},
    ],
)
def test_every_objective_learns_beside_a_teacher(dataset: Dataset, teacher: Path, changes: dict[str, Any]) -> None:
    how = config(**changes, distillation={"items": 8})
    prepared = prepare(dataset, WINDOW, None, how, SideInputs(teacher=Teacher(teacher)))
    batcher, losses = prepared.batcher(NOTHING, 0), []
    for epoch in range(3):
        batches = [
            batch for block in prepared.stream.blocks(final=epoch == 2) for batch in batcher.batches(block, 64, epoch)
        ]
        assert all(batch.scored is not None and batch.scored.items.shape == (len(batch), 8) for batch in batches)
        losses.append(np.mean([prepared.learner.learn(batch) for batch in batches]))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("in_batch", [True, False])
def test_what_is_scored_is_nobodys_candidate_for_it(in_batch: bool) -> None:
    sampler = NegativeSampler(NegativesConfig(in_batch=in_batch, uniform=3, rejected=1), np.ones(20, np.int64))
    hard = HardNegatives([OwnLists(Pairs(np.array([1, 3]), np.array([10, 11])), 4, 1, seed=0)])
    pairs = Pairs(np.array([1, 1, 1, 3]), np.array([5, 12, 13, 14]))
    scored = ScoredLists(Scores(pairs, np.array([5, 12, 13, 14], np.float32)), 4, 2, seed=0)
    own, of = np.array([5, 6, 7]), np.array([1, 3, 2])
    chosen = Chooser(sampler, hard, 20, scored=scored).choose(own, of, np.random.default_rng(1))
    assert chosen.scored is not None
    found, logits = chosen.places[chosen.scored.items.numpy()], chosen.scored.logits.numpy()
    there = np.isfinite(logits)
    assert there.sum(1).tolist() == [2, 1, 0]
    np.testing.assert_array_equal(logits[there], found[there])
    assert chosen.places[chosen.targets].tolist() == own.tolist()
    shared = set(chosen.places[chosen.first_shared :])
    # The same draws without a teacher.
    alone = Chooser(sampler, hard, 20).choose(own, of, np.random.default_rng(1))
    assert shared == set(alone.places[alone.first_shared :])
    assert chosen.hard is not None and alone.hard is not None
    np.testing.assert_array_equal(chosen.places[chosen.hard], alone.places[alone.hard])


def test_one_command_learns_from_a_teacher(dataset: Dataset, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(config(bootstrap_epochs=1, distillation={}).to_yaml())
    train = ["train", "full", "--data", dataset.path, "--config", tmp_path / "train.yaml", "--no-judge"]

    def run(*words: str | Path) -> BaseException | None:
        return CliRunner().invoke(app, [str(word) for word in (*train, *words)]).exception

    alone = run("--out", tmp_path / "alone")
    assert isinstance(alone, ConfigError) and "there is no teacher" in str(alone)
    scale = run("--out", tmp_path / "alone", "--teacher-scale", "logit")
    assert isinstance(scale, ConfigError) and "says what the scores of --teacher are" in str(scale)
    assert run("--out", tmp_path / "out", "--teacher", teacher) is None
    assert (tmp_path / "out" / "version").is_dir()
