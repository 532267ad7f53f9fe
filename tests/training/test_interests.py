"""Several interests through training: full updates, incrementals over them with their proof, and what is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.embeddings.overlay import Overlay
from pagoda.evaluation.offline import answer
from pagoda.evaluation.ranking import DotScorer
from pagoda.model.table_inputs import histories_at
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.invariance_check import check_incremental
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from pagoda.version_files.vector_export import export_items, export_users

from .worlds import config, hours, make

INTERESTS, DIM = 3, 8


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("interests") / "data", clicks_an_hour=15)


@pytest.fixture(scope="module", params=["self_attentive", "routing"])
def how(request: pytest.FixtureRequest) -> TrainConfig:
    history = {"kind": request.param, "interests": INTERESTS}
    model = {"dim": DIM, "feature_dim": 4, "history": history}
    return config(model=model, bootstrap_epochs=2, drift={"max_interest_cosine": 1})  # So little data parts nothing.


@pytest.fixture(scope="module")
def version(dataset: Dataset, how: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, hours(0, 40), None, how, tmp_path_factory.mktemp("version") / "out")


def test_the_same_to_the_bit_and_on_from_its_parent(
    dataset: Dataset, how: TrainConfig, version: FullVersionFiles, tmp_path: Path
) -> None:
    again = full_update(dataset, hours(0, 40), None, how, tmp_path / "again", programs=False)
    weights = [checksum_file(files.folder / "towers.safetensors") for files in (version, again)]
    assert weights[0] == weights[1]
    child = full_update(dataset, hours(40, 50), version, how, tmp_path / "child", programs=False)
    for name, learned in version.parameters().items():
        if name == "user.history.start":  # What routing begins with is part of the model, and nobody learns it.
            assert (child.parameters()[name] == learned).all()
    assert 0 < child.metrics()["user_mean_cosine"] < 1


def test_an_incremental_moves_users_towards_what_they_chose_and_nothing_else(
    dataset: Dataset, how: TrainConfig, version: FullVersionFiles, tmp_path: Path
) -> None:
    export_items(OpenVersion(version, dataset), dataset, tmp_path / "vectors.parquet")
    base = FrozenBase(version, dataset, 3, vectors=tmp_path / "vectors.parquet")
    files = incremental_update(dataset, hours(40, 60), base, None, how, out=tmp_path / "out")
    assert files is not None
    registered = {
        path.relative_to(version.folder).as_posix(): checksum_file(path)
        for path in version.folder.rglob("*")
        if path.is_file()
    }
    check_incremental(files, 3, registered, tmp_path / "vectors.parquet")
    batches = list(dataset.batches(hours(40, 60), events=dataset.spec.positives))
    users, items = (np.concatenate([batch[name].to_numpy() for batch in batches]) for name in ("user_id", "item_id"))
    moments, state = np.full(len(users), hours(40, 60).end_us), histories_at(dataset, hours(40, 60).end, None, None)
    assert state is not None
    opened, chosen = OpenVersion(version, dataset), np.searchsorted(base.item_ids, items)
    above = []
    for one in (opened, opened.under(Overlay(version.users, [files.delta]))):
        scorer = DotScorer(one.user_vectors(users, moments, state.read(users, moments)), opened.item_vectors())
        scores = scorer.block(slice(None))
        above.append((scores[np.arange(len(users)), chosen] - scores.mean(1)).mean())
    assert above[1] > above[0]


def test_an_item_has_the_score_of_the_nearest_interest(dataset: Dataset, version: FullVersionFiles) -> None:
    towers = OpenVersion(version, dataset)
    asked = answer(towers, dataset, hours(40, 60), protocol="each", limit=60, seed=0, shown_at=(5,))
    histories = asked.histories["live"]
    vectors = towers.user_vectors(asked.rows.users, asked.rows.times_us, histories, asked.rows.context)
    assert vectors.shape == (len(asked.rows), INTERESTS, DIM)
    assert len({tuple(one) for one in np.round(vectors[0], 4).tolist()}) > 1
    items = towers.item_vectors()
    for row, target in enumerate(asked.targets):
        scores = np.array([max(float(item @ interest) for interest in vectors[row]) for item in items])
        scores[asked.seen.items[asked.seen.rows == row]] = -np.inf
        assert asked.ranks["live"].above[row] == pytest.approx((scores > scores[target] + 1e-6).sum(), abs=1)


def test_each_interest_of_a_user_is_a_row_of_the_export(
    dataset: Dataset, version: FullVersionFiles, tmp_path: Path
) -> None:
    towers, moment = OpenVersion(version, dataset), hours(0, 40).end
    users = export_users(towers, dataset, moment, tmp_path / "users.parquet")
    table, state = pq.read_table(tmp_path / "users.parquet"), histories_at(dataset, moment, None, None)
    assert state is not None and table.num_rows == INTERESTS * users
    assert table["interest"].to_pylist() == list(range(INTERESTS)) * users
    assert table.schema.field("interest").type == pa.int32()
    user, at = np.array([7]), np.array([hours(0, 40).end_us])
    expected = towers.user_vectors(user, at, state.read(user, at))[0]
    own = table.filter(pa.array(table["user_id"].to_numpy() == 7))
    np.testing.assert_allclose(own["vector"].to_pylist(), expected, atol=1e-6)
