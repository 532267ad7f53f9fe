"""Models whose rows or vectors are made otherwise go the whole way: full versions, incrementals, proof, tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pagoda.data.dataset import Dataset
from pagoda.data.window import to_us
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.tables import TowerTables
from pagoda.errors import IntegrityError
from pagoda.evaluation.evaluate import evaluate
from pagoda.model.table_inputs import histories_at
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.update import incremental_update
from pagoda.updates.incremental_steps import Done, run_all
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.tower.bodies import Instance
from serving.tower.runtime import TowerRuntime
from tests.training.worlds import config, hours, make

from .installations import Installation
from .test_incremental import at

DIM, BRANCHES = 8, [{"kind": "rows"}, {"kind": "mlp", "hidden": [16]}, {"kind": "fm"}, {"kind": "cin", "maps": [4]}]
MODELS: dict[str, dict[str, Any]] = {
    "parallel towers": {"branches": BRANCHES},
    "augmented vectors": {"augment": {"align": 1.0, "category": "tags"}},
}
MEMBERS = [
    {"name": "easy", "weight": 0.7, "dim": DIM // 2},
    {"name": "hard", "weight": 0.3, "dim": DIM // 2, "history": {"kind": "gru"}, "negatives": {"uniform": 5}},
]
WHOLE: dict[str, dict[str, Any]] = {
    **{name: {"model": {"dim": DIM, "feature_dim": 4} | model} for name, model in MODELS.items()},
    "a weighted ensemble": {
        "model": {"feature_dim": 4},
        "ensemble": {"members": MEMBERS},
        "drift": {"max_mean_cosine": 0.99},  # Few numbers after few steps are near each other still.
    },
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 hours of clicks."""
    return make(tmp_path_factory.mktemp("world") / "data")


@pytest.mark.parametrize("name", WHOLE)
def test_goes_from_full_to_incremental_versions_and_answers_as_it_was_evaluated(
    dataset: Dataset, tmp_path: Path, name: str
) -> None:
    how = config(bootstrap_epochs=1, **WHOLE[name])
    home = Installation(tmp_path / "home", dataset, how)
    manifest = home.full(hours(0, 38))
    assert manifest.dim == DIM
    with home.followed():
        done = run_all(home.settings, str(dataset.path), at(44))[manifest.full_version]
    assert isinstance(done, Done)
    base = files_of(home, manifest.full_version)
    segment = Segment.open(Path(done.record.uri) / "segment")
    before, _ = base.users.lookup(segment.ids)
    assert before.shape[1] == how.row_dim
    # Each half of the rows learns: an augmented vector, or a member.
    assert ((segment.rows != before).reshape(len(before), 2, -1).any(2)).all()
    runtime = TowerRuntime.load(base.folder, TowerTables(home.settings.tables_folder, manifest.full_version))
    users, moment = np.arange(60), hours(0, 44).end
    answered = runtime.predict(instances(dataset, users, to_us(moment)), done.manifest.id).vectors
    moments, state = np.full(len(users), to_us(moment)), histories_at(dataset, moment, None, None)
    assert state is not None
    evaluated = OpenVersion(base, dataset).under(Overlay(base.users, [segment]))
    expected = evaluated.user_vectors(users, moments, state.read(users, moments))
    assert answered.shape == (60, DIM)
    np.testing.assert_allclose(answered, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(answered, axis=1), 1, atol=1e-5)


def files_of(home: Installation, version: int) -> FullVersionFiles:
    """A registered full version's files."""
    record = home.state().versions[version]
    return FullVersionFiles(Path(record.uri), Path(record.state_uri or ""))


def instances(dataset: Dataset, users: np.ndarray, moment_us: int) -> list[Instance]:
    """What recall sends of users: raw profiles and the events before the moment."""
    profiles = {row.pop("user_id"): row for row in dataset.users().to_pylist()}
    clicks = dataset.batches(dataset.span(), events=dataset.spec.history_events)
    rows = [row for batch in clicks for row in batch.select(["user_id", "item_id", "timestamp"]).to_pylist()]
    past: dict[int, list[dict[str, int]]] = {}
    for row in rows:
        if (then := to_us(row["timestamp"])) < moment_us:
            past.setdefault(row["user_id"], []).append({"item_id": row["item_id"], "timestamp": then})
    return [
        Instance(user_id=user, timestamp=moment_us, profile=profiles.get(user, {}), history=tuple(past.get(user, ())))
        for user in users.tolist()
    ]


def test_the_weights_of_branches_are_learned_said_saved_once_and_frozen(dataset: Dataset, tmp_path: Path) -> None:
    how = config(bootstrap_epochs=1, model={"dim": DIM, "feature_dim": 4, "branches": BRANCHES, "augment": {}})
    first = full_update(dataset, hours(0, 30), None, how, tmp_path / "first", programs=False)
    files = full_update(dataset, hours(30, 38), first, how, tmp_path / "second", programs=False)
    assert files.users.dim == files.items.dim == 2 * DIM
    said = files.metrics()["branch_weights"]
    assert said != first.metrics()["branch_weights"]
    assert list(said) == ["rows", "mlp", "fm", "cin"]
    assert sum(said.values()) == pytest.approx(1)
    assert len(set(said.values())) == 4
    (theta,) = (tensor for name, tensor in load_file(files.folder / "towers.safetensors").items() if "theta" in name)
    np.testing.assert_allclose(np.exp(theta) / np.exp(theta).sum(), list(said.values()), rtol=1e-5)
    frozen = FrozenBase(files, dataset)
    assert frozen.towers.branches is not None
    frozen.towers.branches.theta.data[0] += 1e-6
    with pytest.raises(IntegrityError, match="changed while"):
        incremental_update(dataset, hours(38, 39), frozen, None, how, out=tmp_path / "out")


def test_both_find_what_users_like_as_one_tower_of_blocks_does(dataset: Dataset, tmp_path: Path) -> None:
    two = {"branches": [{"kind": "rows"}, {"kind": "mlp"}]}

    def recall(name: str, model: dict[str, Any]) -> float:
        how = config(model={"dim": DIM, "feature_dim": 4} | model)
        first = full_update(dataset, hours(0, 40), None, how, tmp_path / f"{name}-1", programs=False)
        files = full_update(dataset, hours(40, 50), first, how, tmp_path / f"{name}-2", programs=False)
        report = evaluate(OpenVersion(files, dataset), dataset, hours(50, 60))
        return report.methods["live"].groups["all"].metrics["recall@10"].value

    plain = recall("plain", {})
    # Seeds of one model differ by as much.
    assert recall("parallel", two) > 0.85 * plain
    assert recall("augmented", MODELS["augmented vectors"]) > 0.85 * plain
