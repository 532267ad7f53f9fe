"""`pagoda export vectors`: every user and item by the ID that was given, as of a moment."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.embeddings.overlay import Overlay
from pagoda.generations.versions import VersionDraft, full_key, incremental_key
from pagoda.model.table_inputs import histories_at
from pagoda.registry.factory import open_registry
from pagoda.settings import load_settings
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import CONFIG, hours, make


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("exporting") / "data")


@pytest.fixture(scope="module")
def base(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, hours(0, 30), None, CONFIG, tmp_path_factory.mktemp("base") / "out")


def export(dataset: Dataset, out: Path, version: str, *more: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """IDs and vectors of both files."""
    arguments = ["export", "vectors", "--version", version, "--data", str(dataset.path), "--out", str(out), *more]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = {}
    for kind in ("user", "item"):
        table = pq.read_table(out / f"{kind}s.parquet")
        vectors = np.stack(table.column("vector").to_numpy())
        found[kind] = table.column(f"{kind}_id").to_numpy(), vectors
    return found


def test_vectors_are_those_of_the_version_as_of_the_moment(
    dataset: Dataset, base: FullVersionFiles, tmp_path: Path
) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=45)
    found = export(dataset, tmp_path / "out", str(base.folder.parent), "--at", at.isoformat())
    users, vectors = found["user"]
    # The last two have no profile, only interactions.
    assert sorted(users) == list(range(60))
    moments, state = np.full(len(users), hours(0, 45).end_us), histories_at(dataset, at, None, None)
    assert state is not None
    opened = OpenVersion(base, dataset)
    expected = opened.user_vectors(users, moments, state.read(users, moments))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_array_equal(found["item"][0], dataset.items().column("item_id").to_numpy())
    np.testing.assert_array_equal(found["item"][1], opened.item_vectors())
    earlier = export(dataset, tmp_path / "earlier", str(base.folder.parent), "--at", "1970-01-01T20:00:00+00:00")
    assert len(earlier["user"][0]) == 58
    assert np.abs(earlier["user"][1] - vectors[:58]).max() > 0.01


def test_users_may_be_known_by_their_interactions_alone(
    dataset: Dataset, base: FullVersionFiles, tmp_path: Path
) -> None:
    shutil.copytree(dataset.path, tmp_path / "data")
    profiles = tmp_path / "data" / "users" / "part-0.parquet"
    pq.write_table(pq.read_table(profiles).slice(0, 0), profiles)
    found = export(Dataset.open(tmp_path / "data"), tmp_path / "out", str(base.folder.parent))
    assert sorted(found["user"][0]) == list(range(60))


def test_a_registered_incremental_version_has_the_rows_of_its_whole_chain(
    dataset: Dataset, base: FullVersionFiles, tmp_path: Path
) -> None:
    registry = open_registry(load_settings(tmp_path))
    full = registry.register(
        VersionDraft(
            key=full_key(hours(0, 30), None),
            update="full",
            window=hours(0, 30),
            folder=base.folder,
            state_folder=base.state,
        )
    )
    frozen, files, newest = FrozenBase(base, dataset, full.version), None, None
    for start, end in ((30, 40), (40, 50)):
        files = incremental_update(dataset, hours(start, end), frozen, files, CONFIG, out=tmp_path / str(end))
        assert files is not None
        draft = VersionDraft(
            key=incremental_key(hours(start, end), full.version, newest),
            update="incremental",
            base=full.version,
            parent=newest,
            window=hours(start, end),
            folder=files.folder,
            state_folder=files.state,
        )
        newest = registry.register(draft).version
    assert files is not None
    at = ("--at", "1970-01-03T00:00:00+00:00", "--home", str(tmp_path))
    users, vectors = export(dataset, tmp_path / "out", str(newest), *at)["user"]
    own = export(dataset, tmp_path / "base", str(full.version), *at)["user"][1]
    moments, state = np.full(len(users), hours(0, 48).end_us), histories_at(dataset, hours(0, 48).end, None, None)
    assert state is not None
    segments = [link.delta for link in files.chain]
    opened = OpenVersion(base, dataset).under(Overlay(base.users, segments))
    np.testing.assert_allclose(vectors, opened.user_vectors(users, moments, state.read(users, moments)), atol=1e-6)
    assert np.abs(vectors - own).max() > 0.01

    arguments = ["--version", str(newest), "--data", str(dataset.path), "--home", str(tmp_path), "--output", "json"]
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.output
    assert '"start": "1970-01-03T02:00:00Z"' in result.stdout
