"""The steps of a full update as a cluster runs them: each in a pod of its own, with nothing shared but a bucket."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.errors import ConflictError
from pagoda.generations.release_log import open_log
from pagoda.index.build import IndexReport
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.settings import CollectionConfig, RegistrySettings, Settings
from pagoda.storage.checksums import checksum_file
from pagoda.storage.copies import download, upload
from pagoda.updates import full_evaluation, full_steps, item_artifacts
from pagoda.updates.full import FullUpdate
from pagoda.updates.incremental import IncrementalUpdate
from pagoda.updates.incremental_steps import exported_vectors
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.recall.items.item_values import open_fields
from serving.tower.archive import package
from tests.training.worlds import CONFIG, ITEMS, config, make

CONFIG_TEXT, DIM = yaml.safe_dump(CONFIG.model_dump(mode="json")), 12
MEMBERS = [{"name": "easy"}, {"name": "hard", "dim": DIM}]
CASCADE = config(bootstrap_epochs=1, ensemble={"members": MEMBERS, "combine": "cascade", "candidates": 15})


class Cluster:
    """Pods of one update; `registry` stands for the MLflow server, which they all reach."""

    def __init__(self, folder: Path, bucket: str) -> None:
        self.folder, self.bucket = folder, bucket
        self.description: dict[str, str] = {}

    def settings(self, pod: str) -> Settings:
        home = self.folder / pod
        home.mkdir()
        (home / "registry").symlink_to(self.folder / "registry")
        registry = RegistrySettings(log=f"{self.bucket}/log", artifacts=f"{self.bucket}/artifacts")
        return Settings(home=home, registry=registry)

    def pod(self, name: str) -> FullUpdate:
        return FullUpdate.of(self.settings(name), self.description)


@pytest.fixture
def cluster(tmp_path: Path, bucket: str) -> Cluster:
    """A cluster whose dataset is in the bucket."""
    data = make(tmp_path / "source").path
    for path in data.rglob("*"):
        if path.is_file():
            upload(path, f"{bucket}/dataset/{path.relative_to(data).as_posix()}")
    (tmp_path / "registry").mkdir()
    cluster = Cluster(tmp_path, bucket)
    update = FullUpdate.resolve(cluster.settings("load-window"), f"{bucket}/dataset", "1970-01-03T00:00:00+00:00")
    cluster.description = update.describe()
    return cluster


def test_every_step_finds_what_the_steps_before_it_made(cluster: Cluster, tmp_path: Path) -> None:
    trained = full_steps.train(cluster.pod("train"), CONFIG_TEXT)
    report = full_evaluation.evaluate(cluster.pod("evaluate"))
    record = full_steps.register(cluster.pod("register"))
    vectors = full_steps.export_vectors(cluster.pod("export"))
    archive = full_steps.package_tower(cluster.pod("package"), package)

    assert report is not None
    assert open_log(cluster.settings("reader")).state().by_key(cluster.description["key"]) == record
    assert pq.read_metadata(vectors).num_rows == ITEMS
    assert str(tmp_path / "export") in str(vectors), "a pod's own copy"
    outputs = cluster.pod("index").outputs
    download(outputs.uri("tower", archive.name), tmp_path / "tower.mar")
    assert checksum_file(tmp_path / "tower.mar") == checksum_file(archive)
    assert (trained / "version" / "encoder.json").exists()
    inside = zipfile.ZipFile(archive).namelist()
    assert not [name for name in inside if name.endswith((".npy", ".parquet"))], "tables come by the follower"


def test_a_step_run_again_elsewhere_makes_nothing_anew(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    first = full_steps.train(cluster.pod("train"), CONFIG_TEXT)
    monkeypatch.setattr("pagoda.training.full.update.full_update", None)
    again = full_steps.train(cluster.pod("train-again"), CONFIG_TEXT)
    assert again != first
    assert checksum_file(again / "version" / "towers.safetensors") == checksum_file(
        first / "version" / "towers.safetensors"
    )


def test_a_step_before_its_turn_says_which_step_is_missing(cluster: Cluster) -> None:
    with pytest.raises(ConflictError, match="run the step 'model' first"):
        full_steps.register(cluster.pod("register"))


def test_item_vectors_are_exported_by_a_pod_each_and_read_as_one(cluster: Cluster) -> None:
    files = full_steps.train(cluster.pod("train"), CONFIG_TEXT)
    cluster.description["shards"] = "3"
    made = [full_steps.export_vectors(cluster.pod(f"export-{shard}"), shard) for shard in (0, 1)]
    with pytest.raises(ConflictError, match="run the step 'vectors-00002-of-00003' first"):
        item_artifacts.all_vectors(cluster.pod("too-early"))
    made.append(full_steps.export_vectors(cluster.pod("export-2"), 2))
    assert [pq.read_metadata(path).num_rows for path in made] == [13, 13, 14]

    reader = cluster.pod("reader")
    source = ItemVectors(item_artifacts.all_vectors(reader), reader.data.spec)
    assert all(uri.startswith(cluster.bucket) for uri in source.files), "read where they are, not copied"
    ids, vectors = zip(*source.blocks(), strict=True)
    alone = OpenVersion(FullVersionFiles(files / "version", files / "state"), reader.data)
    assert np.array_equal(np.concatenate(ids), reader.data.items().column("item_id"))
    np.testing.assert_allclose(np.concatenate(vectors), alone.item_vectors(), atol=1e-6)


def test_a_cascades_second_vectors_are_exported_by_the_same_pods_and_kept_as_one(cluster: Cluster) -> None:
    """Also where whoever goes on after a kill was told another number of pods."""
    files = full_steps.train(cluster.pod("train"), CASCADE.to_yaml())
    full_steps.register(cluster.pod("register"))
    cluster.description["shards"] = "3"
    for shard in range(3):
        full_steps.export_vectors(cluster.pod(f"export-{shard}"), shard)
    item_artifacts.all_vectors(cluster.pod("killed"))
    cluster.description["shards"] = "1"
    item_artifacts.keep_second(cluster.pod("index"))

    reader = cluster.pod("reader")
    kept = item_artifacts.cascade_of(reader)
    assert kept is not None
    assert (kept.dim, kept.candidates) == (DIM, CASCADE.cascade and CASCADE.cascade.candidates)
    for name in ("ids", "vectors"):
        download(getattr(kept, name).uri, reader.scratch / f"{name}.npy")
    ids, vectors = np.load(reader.scratch / "ids.npy"), np.load(reader.scratch / "vectors.npy")
    alone = OpenVersion(FullVersionFiles(files / "version", files / "state"), reader.data)
    assert np.array_equal(ids, reader.data.items().column("item_id"))
    np.testing.assert_allclose(vectors, alone.item_vectors()[:, -DIM:], atol=1e-3)


def test_a_generation_names_the_list_of_parts_and_incrementals_fetch_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []

    def build(_server: object, name: str, vectors: Path, spec: FeatureSpec, **_: object) -> IndexReport:
        source, checksum = ItemVectors(vectors, spec), checksum_file(vectors)
        built.append(vectors)
        about = {"config": CollectionConfig(), "recall_at_100": 1.0, "queries": 1, "search_ms": 1.0}
        return IndexReport(
            name=name, rows=source.rows, dim=source.dim, checksum=checksum, reused=False, seconds={}, **about
        )

    monkeypatch.setattr(full_steps, "build_collection", build)
    full_steps.train(cluster.pod("train"), CONFIG_TEXT)
    cluster.description["shards"] = "2"
    full_steps.register(cluster.pod("register"))
    for shard in (0, 1):
        full_steps.export_vectors(cluster.pod(f"export-{shard}"), shard)
    full_steps.build_index(cluster.pod("index"))
    full_steps.package_tower(cluster.pod("package"), package)
    manifest = full_steps.offer(cluster.pod("publish"))
    assert manifest.item_vectors.uri.endswith("/item_vectors.json")
    items = cluster.pod("reader").data.items()
    fields = open_fields(manifest).read(items["item_id"].to_numpy(), ["tags"])
    assert [row["tags"] for row in fields] == items["tags"].to_pylist()
    assert len(manifest.item_fields) == 2
    assert (manifest.item_count, manifest.item_vectors.checksum) == (ITEMS, checksum_file(built[0]))

    window = Window(start=manifest.window.end, end=manifest.window.end + timedelta(hours=1))
    update = IncrementalUpdate(cluster.settings("incremental"), f"{cluster.bucket}/dataset", window, 1, None)
    fetched = exported_vectors(update)
    assert sum(pq.read_metadata(path).num_rows for path in fetched.rglob("*.parquet")) == ITEMS
