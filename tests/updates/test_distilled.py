"""Teachers and parents have their say in full updates; their students serve, and learn on by incrementals."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError, IntegrityError
from pagoda.generations.release_log import open_log
from pagoda.index.factory import open_collections
from pagoda.model.table_inputs import no_histories
from pagoda.registry.publish import publish
from pagoda.settings import IndexSettings, Settings
from pagoda.updates import full_steps, incremental_steps
from pagoda.updates.full import FullUpdate
from pagoda.updates.incremental import IncrementalUpdate
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import ITEMS, KINDS, USERS, config, hours, make

STUDENT = config(
    bootstrap_epochs=1,
    distillation={"weight": 5.0},
    negatives={"uniform": 16, "bad": 2},
    drift={"max_mean_cosine": 0.99},  # After a handful of steps all vectors are near each other still.
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("distilled") / "data", clicks_an_hour=5)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Of a ranker who believes that users like the kind after their own; in a store of objects too."""
    users, items = (axis.ravel() for axis in np.meshgrid(np.arange(USERS), np.arange(ITEMS) + 100, indexing="ij"))
    score = np.where(items % KINDS == (users + 1) % KINDS, 0.98, 0.02)
    table = {"user_id": users, "item_id": items, "score": score}
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table(table), path)
    with fsspec.open(f"memory:/{path}", "wb") as bucket:
        bucket.write(path.read_bytes())
    return path


def test_students_go_the_whole_way(dataset: Dataset, scores: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", index=IndexSettings(backend="in_process"))
    first = _update(settings, dataset, 40, scores)
    assert first.files().config.negatives.bad == 0, "it has no parent that could say what is irrelevant"
    manifest = full_steps.newest(first)
    users, moments = np.arange(50), np.full(50, first.window.end_us)
    vectors = OpenVersion(first.files(), dataset).user_vectors(users, moments, no_histories(50))
    hits = open_collections(settings).search(manifest.collection, vectors, 3, effort=ITEMS)
    assert np.mean([np.mean(hit.ids % KINDS == (user + 1) % KINDS) for user, hit in enumerate(hits)]) > 0.5
    publish(open_log(settings), manifest.id, "stable")
    second = _update(settings, dataset, 50, scores)
    assert (second.parent, second.files().config.negatives.bad) == (1, 2)
    over = IncrementalUpdate(settings, str(dataset.path), hours(50, 60), 2, None)
    done = incremental_steps.carry_out(over)  # Proves that nothing but users' rows changed, to the bit.
    assert (done.manifest.full_version, done.manifest.collection) == (2, full_steps.newest(second).collection)


def _update(settings: Settings, dataset: Dataset, until: int, scores: Path) -> FullUpdate:
    """A full update up to an hour, all of whose steps are done."""
    update = FullUpdate.resolve(settings, str(dataset.path), hours(0, until).end.isoformat())
    full_steps.train(update, STUDENT.to_yaml(), f"memory:/{scores}", "probability")
    full_steps.register(update)
    full_steps.export_vectors(update)
    full_steps.build_index(update)
    full_steps.package_tower(update, _package)
    full_steps.offer(update)
    return update


def _package(_files: Path, _version: int, folder: Path) -> Path:
    (folder / "tower.mar").write_bytes(b"archive")
    return folder / "tower.mar"


def test_what_a_full_update_lacks_is_said_before_anything_is_trained(
    dataset: Dataset, scores: Path, tmp_path: Path
) -> None:
    update = FullUpdate(Settings(home=tmp_path / "home"), str(dataset.path), hours(0, 40), None)
    with pytest.raises(ConfigError, match="distillation is declared, but there is no teacher"):
        full_steps.train(update, STUDENT.to_yaml())
    with pytest.raises(ConfigError, match=r"so .*scores\.parquet would not be used"):
        full_steps.train(update, config().to_yaml(), str(scores))
    with pytest.raises(ConfigError, match="teacher_scale 'odds': expected logit or probability"):
        full_steps.train(update, STUDENT.to_yaml(), str(scores), "odds")
    with pytest.raises(IntegrityError, match="absent is missing"):
        full_steps.train(update, STUDENT.to_yaml(), "memory://absent")
    assert not update.outputs.done(full_steps.MODEL)
