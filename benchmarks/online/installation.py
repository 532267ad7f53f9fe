"""The world in the real platform: registered, built, released, followed, and its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.online.world import DIM, NOW_US, SPEC, WINDOW, BenchWorld
from pagoda.data.window import from_us
from pagoda.embeddings.tables import TowerTables
from pagoda.generations.creation import create_generation
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import open_log
from pagoda.generations.versions import VersionDraft, full_key
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.factory import open_collections
from pagoda.model.table_inputs import no_histories
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from pagoda.settings import CollectionConfig, Settings
from pagoda.standalone.platform import Platform
from pagoda.standalone.profiles import COMPACT, FULL
from pagoda.storage.checksums import SHA256, checksum_file
from pagoda.version_files.open_version import OpenVersion
from serving.tower.archive import package
from serving.tower.bodies import Instance
from serving.tower.runtime import TowerRuntime
from serving.users.loading import load_store

_PROBES = 400
_SERVERS = {FULL: ("milvus", "redis", "torchserve"), COMPACT: ("redis",)}
"""What runs beside recall, by profile."""
_READY_SECONDS = 120


@dataclass(frozen=True)
class Installation:
    """A running platform that answers."""

    platform: Platform
    settings: Settings
    world: BenchWorld
    manifest: Manifest
    index: IndexReport

    def tower(self) -> TowerRuntime:
        """The user tower in this process."""
        return TowerRuntime.load(
            self.world.files.folder, TowerTables(self.settings.tables_folder, self.manifest.full_version)
        )

    def user_vectors(self, users: Sequence[int]) -> NDArray[np.float32]:
        """What the user tower says of users as of now, with what the store knows of them. [n, dim]"""
        asked = [Instance.model_validate({"user_id": int(user), "timestamp": NOW_US}) for user in users]
        return self.tower().predict(asked, self.manifest.id).vectors

    def pid(self, service: str) -> int:
        """The process of a service."""
        found = {status.name: status.pid for status in self.platform.status()}[service]
        if found is None:
            raise RuntimeError(f"{service} does not run")
        return found


def install(platform: Platform, world: BenchWorld, profile: str, progress: Callable[[str], None]) -> Installation:
    """Bring the world into a platform of a profile and wait until it answers."""
    progress(f"starting the platform {profile}")
    settings = platform.up(_SERVERS[profile], profile=profile, attached=True)
    log = open_log(settings)
    registry = FolderRegistry(settings.home / "versions", log)
    progress("registering the version")
    version = registry.register(
        VersionDraft(key=full_key(WINDOW, None), update="full", window=WINDOW, folder=world.files.folder)
    ).version
    progress(f"building the collection of {world.dataset.items().num_rows:,} items")
    index = _build(settings, world)
    archive = package(world.files.folder, version, settings.home / "archives")
    manifest = create_generation(
        log,
        version,
        tower=Artifact(uri=str(archive), checksum=checksum_file(archive, SHA256)),
        item_vectors=Artifact(uri=str(world.vectors), checksum=index.checksum),
        collection=index.name,
        dim=DIM,
        item_count=index.rows,
        spec=SPEC,
        backend=settings.index.backend,
    )
    publish(log, manifest.id, "stable")
    progress(f"filling the online store with {len(world.users):,} users")
    load_store(world.dataset, from_us(NOW_US), settings.redis.url)
    progress("starting the recall service")
    settings = platform.start(["follower", "recall"])
    wait_ready(settings.recall.url)
    return Installation(platform, settings, world, manifest, index)


def _build(settings: Settings, world: BenchWorld) -> IndexReport:
    random = np.random.default_rng(9)
    asked = random.choice(world.users, min(_PROBES, len(world.users)), replace=False)
    version, moments = OpenVersion(world.files, world.dataset), np.full(len(asked), NOW_US)
    queries = version.user_vectors(asked, moments, no_histories(len(asked)))
    collections = open_collections(settings)
    try:
        # The recall is a result here, and no reason to stop.
        config = CollectionConfig(minimum_recall=0.9)
        return build_collection(collections, "online", world.vectors, SPEC, queries=queries, config=config)
    finally:
        collections.close()


def wait_ready(url: str) -> None:
    """Wait until a recall service answers."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/v2/health/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} is not ready after {_READY_SECONDS} s")


@contextmanager
def process(
    module: str, *arguments: str, home: Path, log: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[psutil.Process]:
    """`python -m module` over the installation in `home` until the block ends."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", module, *arguments]
        given = {**os.environ, "PAGODA_HOME": str(home), **environment}
        child = subprocess.Popen(command, env=given, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
