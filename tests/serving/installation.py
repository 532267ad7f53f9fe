"""A whole installation for the tests: dataset, registered version, collection, tables, store; and its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.dataset import Dataset
from pagoda.data.ids import hash_ids
from pagoda.data.layout import FEATURES_FILE, day_of, partition_name, schema_of
from pagoda.data.spec import write_spec
from pagoda.data.window import from_us
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables import TablesWriter
from pagoda.index.build import build_collection
from pagoda.index.collection import Collections
from pagoda.index.config import CollectionConfig
from pagoda.index.vectors import ItemVectors, ItemVectorsWriter
from pagoda.registry.folder import FolderRegistry
from pagoda.registry.generations import add_incremental, create_generation
from pagoda.registry.log import ReleaseLog
from pagoda.registry.manifest import Artifact, Manifest
from pagoda.registry.publish import publish
from pagoda.registry.versions import VersionDraft, full_key, incremental_key
from pagoda.storage import checksum_file
from serving.recall.loading import load_store
from serving.tower.archive import package

from .torchserve import free_port
from .worlds import DIM, ITEMS, NOW_US, USERS, WINDOW, World, ids_of, make_world

HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Installation:
    """Where the parts are."""

    home: Path
    world: World
    dataset: Path
    manifest: Manifest
    vectors: Path
    milvus_uri: str
    redis_url: str

    @property
    def log(self) -> ReleaseLog:
        """The release log."""
        return ReleaseLog(str(self.home / "log"))

    def environment(self, tower_url: str) -> dict[str, str]:
        """The settings as a process takes them."""
        return {
            "PAGODA_HOME": str(self.home),
            "PAGODA_MILVUS__URI": self.milvus_uri,
            "PAGODA_REDIS__URL": self.redis_url,
            "PAGODA_TOWER__URL": tower_url,
            "PAGODA_TOWER__TABLES": str(self.world.tables),
        }

    def items(self) -> tuple[np.ndarray, np.ndarray]:
        """IDs and vectors of all items."""
        ids, vectors = zip(*ItemVectors(self.vectors, self.world.spec).blocks(), strict=True)
        return np.concatenate(ids), np.concatenate(vectors)


def install(folder: Path, tables: Path, milvus_uri: str, redis_url: str, *, version: int, id_type: str) -> Installation:
    """Make full version `version` and its generation, and release it."""
    world = make_world(folder / "version", tables, version=version, id_type=id_type)
    write_dataset(world, folder / "dataset")
    home = folder / "home"
    log = ReleaseLog(str(home / "log"))
    registry = FolderRegistry(home / "versions", log)
    for number in range(1, version + 1):  # the earlier ones only take the numbers
        draft = VersionDraft(key=full_key(WINDOW, number), update="full", window=WINDOW, folder=world.folder)
        registry.register(draft)
    vectors = write_vectors(world, folder / "item_vectors.parquet")
    collection = f"serving_{folder.name}_{id_type}_{free_port()}".replace("-", "_")
    queries = np.random.default_rng(5).normal(size=(20, DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    collections = Collections(milvus_uri)
    report = build_collection(
        collections, collection, vectors, world.spec, queries=queries, config=CollectionConfig(effort=ITEMS)
    )
    collections.close()
    archive = package(world.folder, version, home / "archives")
    manifest = create_generation(
        log,
        version,
        tower=Artifact(uri=str(archive), checksum=checksum_file(archive)),
        item_vectors=Artifact(uri=str(vectors), checksum=report.checksum),
        collection=collection,
        dim=DIM,
        item_count=ITEMS,
        spec=world.spec,
    )
    TablesWriter(world.tables).set_current(manifest.id)
    publish(log, manifest.id, "stable")
    load_store(Dataset.open(folder / "dataset"), from_us(NOW_US), redis_url)
    return Installation(home, world, folder / "dataset", manifest, vectors, milvus_uri, redis_url)


def write_dataset(world: World, folder: Path) -> None:
    """Users with profiles, items with genres and years, and an interaction an hour before `NOW_US` and after it."""
    spec = world.spec
    folder.mkdir(parents=True)
    write_spec(spec, folder / FEATURES_FILE)
    users = {"user_id": [world.user(n) for n in range(USERS)], "age": [float(15 + n) for n in range(USERS)]}
    _write(folder / "users/users.parquet", {**users, "gender": ["F", None] * (USERS // 2)}, schema_of(spec, "users"))
    items = {"item_id": [world.item(n) for n in range(ITEMS)], **item_features(range(ITEMS))}
    _write(folder / "items/items.parquet", items, schema_of(spec, "items"))
    random = np.random.default_rng(3)
    count = 400
    times = NOW_US - (300 - np.arange(count)) * HOUR_US
    rows = {
        "user_id": [world.user(n) for n in random.integers(0, USERS, count).tolist()],
        "item_id": [world.item(n) for n in random.integers(0, ITEMS, count).tolist()],
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


def write_vectors(world: World, path: Path) -> Path:
    """Unit vectors of all items."""
    random = np.random.default_rng(11)
    vectors = random.normal(size=(ITEMS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [world.item(n) for n in range(ITEMS)]
    strings = world.spec.id_type == "string"
    columns = {"item_id": hash_ids([str(name) for name in names]) if strings else np.array(names, np.int64)}
    table = pa.table({**columns, **({"item_key": names} if strings else {}), **item_features(range(ITEMS))})
    with ItemVectorsWriter(path, world.spec, DIM) as writer:
        writer.write(table.sort_by("item_id"), vectors)
    return path


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
        _wait(process, lambda: httpx.get(f"{url}{path}").is_success, f"recall (see {log})")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _wait(process: subprocess.Popen[bytes], healthy: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if healthy():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not start")
