"""A whole installation for the tests: dataset, registered version, collection, tables, store; and its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.config.model import ModelConfig
from pagoda.config.training import DriftConfig, TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import FEATURES_FILE, day_of, partition_name, schema_of
from pagoda.data.spec import FeatureSpec, write_spec
from pagoda.data.window import Window, from_us
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables import TablesWriter
from pagoda.generations.creation import add_incremental, create_generation
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionDraft, full_key, incremental_key
from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from pagoda.settings import CollectionConfig
from pagoda.storage.checksums import SHA256, checksum_file
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.tower.archive import package
from serving.users.loading import load_store

from .callers import give_token
from .torchserve import free_port
from .worlds import DIM, ITEMS, NOW_US, USERS, WINDOW, Names, World, ids_of, make_spec

HOUR_US = 3_600_000_000
CONFIG = TrainConfig(
    batch_size=64,
    bootstrap_epochs=2,
    model=ModelConfig(dim=DIM, feature_dim=4),
    drift=DriftConfig(max_mean_cosine=1),  # so little data teaches little
)


@dataclass(frozen=True)
class Installation:
    """Where the parts are."""

    home: Path
    world: World
    dataset: Dataset
    manifest: Manifest
    milvus_uri: str
    redis_url: str

    @property
    def log(self) -> ReleaseLog:
        """The release log."""
        return ReleaseLog(str(self.home / "log"))

    def environment(self, tower_url: str = "") -> dict[str, str]:
        """The settings as a process takes them; without a tower's server, recall computes by itself."""
        return {
            "PAGODA_HOME": str(self.home),
            "PAGODA_MILVUS__URI": self.milvus_uri,
            "PAGODA_REDIS__URL": self.redis_url,
            "PAGODA_TOWER__RUNTIME": "torchserve" if tower_url else "in_process",
            "PAGODA_TOWER__URL": tower_url,
            "PAGODA_TOWER__TABLES": str(self.world.tables),
            # A busy machine must not make an answer a degraded one.
            "PAGODA_TOWER__TIMEOUT_SECONDS": "30",
            "PAGODA_RECALL__STORE_SECONDS": "30",
            "PAGODA_RECALL__INDEX_SECONDS": "30",
        }

    def registered(self) -> FullVersionFiles:
        """The files of the registered version."""
        record = self.log.state().version(self.world.version)
        return FullVersionFiles(Path(record.uri), Path(str(record.state_uri)))


def install(folder: Path, tables: Path, milvus_uri: str, redis_url: str, *, version: int, id_type: str) -> Installation:
    """Train full version `version` on a small dataset, make its generation, and release it."""
    names = Names(make_spec(id_type))
    write_dataset(names, folder / "dataset")
    dataset = Dataset.open(folder / "dataset")
    window = Window(start=dataset.span().start, end=from_us(NOW_US))
    trained = full_update(dataset, window, None, CONFIG, folder / "trained")
    world = World(names.spec, trained.folder, tables, trained.encoder, version)
    world.offer()
    home = folder / "home"
    give_token(home / "tokens")
    log = ReleaseLog(str(home / "log"))
    _register(home, log, window, trained, version)
    vectors = folder / "item_vectors.parquet"
    with ItemVectorsWriter(vectors, names.spec, DIM) as writer:
        writer.write(dataset.items(), OpenVersion(trained, dataset).item_vectors())
    collection, checksum = _build(milvus_uri, vectors, names.spec)
    archive = package(world.folder, version, home / "archives")
    manifest = create_generation(
        log,
        version,
        tower=Artifact(uri=str(archive), checksum=checksum_file(archive, SHA256)),
        item_vectors=Artifact(uri=str(vectors), checksum=checksum),
        collection=collection,
        dim=DIM,
        item_count=ITEMS,
        spec=names.spec,
    )
    publish(log, manifest.id, "stable")
    load_store(dataset, from_us(NOW_US), redis_url)
    return Installation(home, world, dataset, manifest, milvus_uri, redis_url)


def _register(home: Path, log: ReleaseLog, window: Window, trained: FullVersionFiles, version: int) -> None:
    registry = FolderRegistry(home / "versions", log)
    for number in range(1, version + 1):  # the earlier ones only take the numbers
        draft = VersionDraft(
            key=full_key(window, number),
            update="full",
            window=window,
            folder=trained.folder,
            state_folder=trained.state,
        )
        registry.register(draft)


def _build(milvus_uri: str, vectors: Path, spec: FeatureSpec) -> tuple[str, str]:
    """Build a collection of the vectors; its name and their checksum."""
    name = f"serving_{uuid.uuid4().hex}"
    queries = np.random.default_rng(5).normal(size=(20, DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    collections = MilvusCollections(milvus_uri)
    report = build_collection(collections, name, vectors, spec, queries=queries, config=CollectionConfig(effort=ITEMS))
    collections.close()
    return name, report.checksum


def write_dataset(names: Names, folder: Path) -> None:
    """Users with profiles, items with genres and years, and an interaction an hour before `NOW_US` and after it."""
    spec = names.spec
    folder.mkdir(parents=True)
    write_spec(spec, folder / FEATURES_FILE)
    users = {"user_id": [names.user(n) for n in range(USERS)], "age": [float(15 + n) for n in range(USERS)]}
    _write(folder / "users/users.parquet", {**users, "gender": ["F", None] * (USERS // 2)}, schema_of(spec, "users"))
    items = {"item_id": [names.item(n) for n in range(ITEMS)], **item_features(range(ITEMS))}
    _write(folder / "items/items.parquet", items, schema_of(spec, "items"))
    random = np.random.default_rng(3)
    count = 400
    times = NOW_US - (300 - np.arange(count)) * HOUR_US
    rows = {
        "user_id": [names.user(n) for n in random.integers(0, USERS, count).tolist()],
        "item_id": [names.item(n) for n in random.integers(0, ITEMS, count).tolist()],
        "event": random.choice(["click", "impression"], count).tolist(),
        "timestamp": times.tolist(),
        "device": ["tv"] * count,
    }
    table = pa.table({name: pa.array(values) for name, values in rows.items()})
    days = np.array([day_of(int(moment)).isoformat() for moment in times])
    for day in np.unique(days):
        part = table.filter(pa.array(days == day))
        name = partition_name(day_of(int(times[days == day][0])))
        _write(folder / "interactions" / name / "part.parquet", part.to_pydict(), schema_of(spec, "interactions"))


def item_features(numbers: range) -> dict[str, list[object]]:
    """Genres and years that follow from the number of an item."""
    return {
        "genres": [["Drama"] if n % 3 else ["Comedy", "Drama"] for n in numbers],
        "year": [float(1960 + n) for n in numbers],
    }


def _write(path: Path, columns: Mapping[str, list[object]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pydict(dict(columns), schema), path)


def add_incremental_version(installation: Installation, users: list[int | str]) -> Manifest:
    """Register an incremental version that changes the rows of `users`, and bring its generation to the tables."""
    world, log = installation.world, installation.log
    folder = installation.home / "incremental"
    random = np.random.default_rng(8)
    description = Segment.write(
        folder / "segment",
        ids_of(users),
        random.normal(size=(len(users), DIM)).astype(np.float32),
        base_checksum=IdTable.open(world.folder / "users").checksum,
        base_version=world.version,
        window=WINDOW,
        parent=None,
    )
    key = incremental_key(WINDOW, world.version, None)
    draft = VersionDraft(key=key, update="incremental", base=world.version, window=WINDOW, folder=folder)
    version = FolderRegistry(installation.home / "versions", log).register(draft)
    manifest = add_incremental(log, version.version)
    writer = TablesWriter(world.tables)
    writer.install_segment(str(folder / "segment"), description.checksum)
    writer.put_generation(manifest.id, world.version, (description.checksum,))
    return manifest


@contextmanager
def recall_service(environment: Mapping[str, str], log: Path, *, ready: bool = True) -> Iterator[str]:
    """`python -m serving.recall` on a free port, until the block ends; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.recall", "--port", str(port)],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    path = "/v2/health/ready" if ready else "/v2/health/live"
    try:
        _wait(process, lambda: httpx.get(f"{url}{path}").is_success, log)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _wait(process: subprocess.Popen[bytes], healthy: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if healthy():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"it did not start; its log ends with\n{log.read_text()[-2000:]}")
