"""Small real versions: folders as training writes them, with tables, segments and state."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import numpy as np

from pagoda.config.channels import ChannelConfig
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable
from pagoda.errors import ConflictError
from pagoda.generations.creation import add_incremental, create_generation
from pagoda.generations.manifest import MILVUS, Artifact, Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionDraft, VersionRecord, full_key, incremental_key
from pagoda.registry.base import Registry
from pagoda.storage.checksums import checksum_file

DIM = 4
START = datetime(2026, 11, 1, tzinfo=UTC)
ARCHIVE = "pagoda-{}.mar"


def day(number: int) -> Window:
    return Window(start=START + timedelta(days=number), end=START + timedelta(days=number + 1))


def minutes(number: int, length: int = 10) -> Window:
    start = START + timedelta(days=10, minutes=number * length)
    return Window(start=start, end=start + timedelta(minutes=length))


def rows(values: list[float]) -> np.ndarray:
    return np.repeat(np.array(values, np.float32)[:, None], DIM, axis=1)


class Memory:
    """A store of records without a disk."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.reads = 0

    def put(self, name: str, content: bytes) -> None:
        if name in self.blobs:
            raise ConflictError(name)
        self.blobs[name] = content

    def read(self, names: Sequence[str]) -> list[bytes]:
        self.reads += 1
        return [self.blobs[name] for name in takewhile(self.blobs.__contains__, names)]


class World:
    """Makes drafts below a folder, and registers them."""

    backend = MILVUS
    """Of the collections of its generations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def full(self, number: int = 0, parent: int | None = None, value: float = 1.0) -> VersionDraft:
        """A full version of one day: users 1 to 5 and items 1 to 3, all of whose rows are `value`."""
        place = self._place()
        for side, count in (("users", 5), ("items", 3)):
            ids = np.arange(1, count + 1, dtype=np.int64)
            IdTable.write(place / "version" / side, ids, rows([value] * count), rows([0.0])[0])
        (place / "version/encoder.json").write_text("{}")
        (place / "version/towers.safetensors").write_bytes(b"towers")
        return VersionDraft(
            key=full_key(day(number), parent),
            update="full",
            window=day(number),
            parent=parent,
            folder=place / "version",
            state_folder=self._state(place),
            metrics={"recall@50": 0.25, "ndcg@10": 0.1},
            params={"dim": DIM, "epochs": 1},
            tags={"code": "0.1.0"},
        )

    def incremental(
        self, base: VersionRecord, number: int = 0, parent: VersionRecord | None = None, value: float = 10.0
    ) -> VersionDraft:
        """An incremental version that sets the rows of users 1 and 9 to `value`."""
        place = self._place()
        Segment.write(
            place / "version/segment",
            np.array([1, 9], np.int64),
            rows([value, value]),
            base_checksum=IdTable.open(Path(base.uri) / "users").checksum,
            base_version=base.version,
            window=minutes(number),
            parent=parent.segment if parent else None,
        )
        return VersionDraft(
            key=incremental_key(minutes(number), base.version, parent.version if parent else None),
            update="incremental",
            base=base.version,
            window=minutes(number),
            parent=parent.version if parent else None,
            folder=place / "version",
            state_folder=self._state(place),
        )

    def archive(self, version: int) -> Artifact:
        path = self.folder / ARCHIVE.format(version)
        path.write_bytes(b"archive of %d" % version)
        return Artifact(uri=str(path), checksum=checksum_file(path))

    def generation(
        self, log: ReleaseLog, version: int, tower: Artifact | None = None, channels: Sequence[ChannelConfig] = ()
    ) -> Manifest:
        vectors = Artifact(uri=str(self.folder / "item_vectors.parquet"), checksum="xxh3:0")
        return create_generation(
            log,
            version,
            tower=tower or self.archive(version),
            item_vectors=vectors,
            channels=channels,
            collection=f"recall_v{version}",
            backend=self.backend,
            dim=DIM,
            item_count=3,
            spec=FeatureSpec(),
        )

    def serve_chain(
        self,
        registry: Registry,
        log: ReleaseLog,
        length: int,
        day_number: int = 0,
        channels: Sequence[ChannelConfig] = (),
    ) -> list[Manifest]:
        """Register a full version and `length` incrementals on it, and make a generation of each."""
        champion = log.state().champion
        base = registry.register(self.full(day_number, champion))
        made = [self.generation(log, base.version, channels=channels)]
        parent: VersionRecord | None = None
        for number in range(length):
            draft = self.incremental(base, day_number * 100 + number, parent, value=10.0 * base.version + number)
            parent = registry.register(draft)
            made.append(add_incremental(log, parent.version))
        return made

    def _place(self) -> Path:
        return self.folder / uuid.uuid4().hex

    def _state(self, place: Path) -> Path:
        (place / "state").mkdir(parents=True)
        (place / "state/watermark.json").write_text(f'"{place.name}"')
        return place / "state"
