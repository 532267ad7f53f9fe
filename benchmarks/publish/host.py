"""An installation with a base that serves: its follower, its tower's server, and how a delta is published to them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa

from benchmarks.publish.world import DIM, hour, write_base, write_delta
from pagoda.config.model import ModelConfig
from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.tables import TowerTables
from pagoda.errors import NotHeldError
from pagoda.generations.creation import add_incremental, create_generation
from pagoda.generations.manifest import Artifact
from pagoda.generations.release_log import open_log
from pagoda.generations.versions import VersionDraft, VersionRecord, full_key, incremental_key
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.towers.towers import Towers
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from pagoda.settings import Settings, tower_address
from pagoda.sockets import client_of
from pagoda.standalone.platform import Platform
from pagoda.storage.checksums import SHA256, checksum_file
from pagoda.updates.readiness import checks_of
from serving.tower.archive import package

_SPEC = FeatureSpec(history=None)
_PATIENCE_SECONDS = 900.0
_POLL_SECONDS = 0.002


@dataclass(frozen=True)
class Published:
    """What one publish took."""

    seconds: float
    """From the registered version to the first answer with it."""
    bytes_written: int
    """By the publisher and the follower until then."""


class Host:
    """A home folder with registry, release log and tables, and the real processes that work on them."""

    def __init__(self, platform: Platform, settings: Settings) -> None:
        self.settings, self._log = settings, open_log(settings)
        self._registry = FolderRegistry(settings.home / "versions", self._log)
        self._pid = next(status.pid for status in platform.status() if status.name == "follower")
        self._newest: VersionRecord | None = None

    def install(self, folder: Path) -> None:
        """Register the files in `folder` as full version 1, let it serve, and remove them."""
        window = hour(0)
        draft = VersionDraft(key=full_key(window, None), update="full", window=window, folder=folder)
        record = self._registry.register(draft)
        archive = package(folder, record.version, self.settings.home / "made")
        shutil.rmtree(folder)
        generation = create_generation(
            self._log,
            record.version,
            tower=Artifact(uri=str(archive), checksum=checksum_file(archive, SHA256)),
            item_vectors=Artifact(uri="none", checksum="none"),
            collection="none",
            dim=DIM,
            item_count=1,
            spec=_SPEC,
        )
        checks = checks_of(self.settings, self._log.state(), _PATIENCE_SECONDS)
        publish(self._log, generation.id, "stable", checks=checks)
        self._await(generation.id)

    def publish(self, folder: Path, rows: int, number: int) -> Published:
        """Register a delta of `rows` users, written to `folder`, and publish it as an incremental update does."""
        base, parent = self._registry.get(1), self._newest
        segment = parent.segment if parent else None
        write_delta(folder / "segment", Path(base.uri) / "users", rows=rows, number=number, parent=segment)
        window, below = hour(number), parent.version if parent else None
        key = incremental_key(window, base.version, below)
        draft = VersionDraft(key=key, update="incremental", base=1, window=window, parent=below, folder=folder)
        self._newest = record = self._registry.register(draft)
        shutil.rmtree(folder)

        written, began = self._written(), time.perf_counter()
        generation = add_incremental(self._log, record.version)
        publish(self._log, generation.id, checks=checks_of(self.settings, self._log.state()), reason="incremental")
        self._await(generation.id)
        return Published(time.perf_counter() - began, self._written() - written)

    def settle(self) -> None:
        """Wait until the follower has compacted what it wants to."""
        before = None
        while before != (now := _io(Path(f"/proc/{self._pid}"))):
            before = now
            time.sleep(0.3)

    def _await(self, generation: str) -> None:
        """Wait until a request that names no generation is answered by this one."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with client_of(self.settings.tower.url, 30) if self.settings.tower.url else httpx.Client() as client:
            while self._answers(client) != generation:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{generation} does not answer after {_PATIENCE_SECONDS:.0f} s")
                time.sleep(_POLL_SECONDS)

    def _answers(self, client: httpx.Client) -> str:
        """The generation that answers; without a server, the one that a worker would open."""
        if self.settings.tower.url:
            reply = client.post(tower_address(self.settings.tower.url, 1), json={"user_id": 1})
            return str(reply.json()["generation"]) if reply.is_success else ""
        tables = TowerTables(self.settings.tables_folder, 1)
        try:
            return tables.generation(tables.current()).generation
        except NotHeldError:
            return ""

    def _written(self) -> int:
        """Bytes written so far by this process and the follower's main thread: compaction has a thread of its own."""
        return _io(Path("/proc/self")) + _io(Path(f"/proc/{self._pid}/task/{self._pid}"))


@contextmanager
def running_host(folder: Path, users: int, *, torchserve: bool) -> Iterator[Host]:
    """A host that serves a base of `users`, with TorchServe or without a server."""
    write_base(folder / "full", users)
    _write_tower(folder / "full")
    platform = Platform(folder / "home")
    settings = platform.up(["torchserve", "follower"] if torchserve else ["follower"], attached=True)
    try:
        host = Host(platform, settings)
        host.install(folder / "full")
        yield host
    finally:
        platform.down()


def _write_tower(folder: Path) -> None:
    """An untrained tower: it costs as much as any."""
    encoder = Encoder.fit(_SPEC, pa.table({}), pa.table({}))
    (folder / "encoder.json").write_text(encoder.to_json())
    towers = Towers(ModelConfig(dim=DIM), encoder)
    export_towers(towers, encoder, DIM, folder / "user_tower.pt2", folder / "item_tower.pt2")


def _io(process: Path) -> int:
    """Bytes that a process or thread has written, to disk or cache."""
    lines = (process / "io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
