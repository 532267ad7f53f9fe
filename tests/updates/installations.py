"""An installation without servers: a folder registry, the release log, and a real follower that brings tables."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.embeddings.tables import TowerTables
from pagoda.generations.creation import create_generation
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionDraft, full_key
from pagoda.item_vectors.item_fields import FIELDS_FILE, write_item_fields
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.registry.factory import open_registry
from pagoda.registry.publish import publish
from pagoda.settings import Settings
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update, open_version
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.workers.follower import Follower
from serving.workers.loop import follow
from serving.workers.tower_host import NoTowers

_FIRST: dict[str, Path] = {}
"""Where first versions are, by what they were trained on and how."""


class Installation:
    """What updates need, in a folder."""

    def __init__(self, home: Path, dataset: Dataset, config: TrainConfig) -> None:
        self.settings = Settings(home=home)
        self.dataset, self.config = dataset, config

    @property
    def log(self) -> ReleaseLog:
        """The release log."""
        return open_log(self.settings)

    def state(self) -> ReleaseState:
        """What the log says."""
        return self.log.state()

    def full(self, window: Window, *, serve: bool = True, first: bool = False) -> Manifest:
        """Train a full version from the champion (or a `first` one, from none), register it, and let it serve."""
        champion = None if first else self.state().champion
        out = self.settings.home / "work" / "full" / window.key
        parent = FullVersionFiles(*self._files(champion)) if champion else None
        files = full_update(self.dataset, window, parent, self.config, out) if parent else self._first(window, out)
        draft = VersionDraft(
            key=full_key(window, champion),
            update="full",
            window=window,
            parent=champion,
            folder=files.folder,
            state_folder=files.state,
        )
        manifest = self._generation(open_registry(self.settings).register(draft).version, files)
        if serve:
            publish(self.log, manifest.id, "stable")
        return manifest

    def _first(self, window: Window, out: Path) -> FullVersionFiles:
        """A first version, of which many installations are made: it is trained once."""
        key = f"{self.dataset.path} {window.key} {self.config.model_dump_json()}"
        if key not in _FIRST:
            _FIRST[key] = Path(tempfile.mkdtemp(dir=self.dataset.path.parent)) / "first"
            full_update(self.dataset, window, None, self.config, _FIRST[key])
        shutil.copytree(_FIRST[key], out)
        return open_version(out)

    def _files(self, version: int) -> tuple[Path, Path]:
        record = open_registry(self.settings).get(version)
        return Path(record.uri), Path(record.state_uri or "")

    def _generation(self, version: int, files: FullVersionFiles) -> Manifest:
        vectors = self.settings.home / f"vectors-{version}" / "item_vectors.parquet"
        items, how = self.dataset.items(), files.config
        with ItemVectorsWriter(vectors, self.dataset.spec, how.vector_dim, how.model.similarity) as writer:
            writer.write(items, OpenVersion(files, self.dataset).item_vectors()[:, : how.vector_dim])
        fields = vectors.with_name(FIELDS_FILE)
        write_item_fields(fields, self.dataset.spec, items)
        archive = vectors.with_name("tower.mar")
        archive.write_bytes(b"archive")
        return create_generation(
            self.log,
            version,
            tower=Artifact(uri=archive.as_uri(), checksum=checksum_file(archive)),
            item_vectors=Artifact(uri=vectors.as_uri(), checksum=checksum_file(vectors)),
            item_fields=[Artifact(uri=fields.as_uri(), checksum=checksum_file(fields))],
            collection=f"recall_v{version}",
            dim=how.vector_dim,
            similarity=how.model.similarity,
            item_count=items.num_rows,
            spec=self.dataset.spec,
        )

    @contextmanager
    def followed(self) -> Iterator[None]:
        """While a follower brings tables."""
        follower, stop = Follower(self.log, self.settings.tables_folder, NoTowers()), threading.Event()
        thread = threading.Thread(target=follow, args=(follower, stop, 0.02, "follower"))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            follower.close()

    def served_rows(self, generation: str, users: np.ndarray) -> np.ndarray:
        """Rows of users as the tower's host looks them up."""
        version = self.state().generation(generation).full_version
        return TowerTables(self.settings.tables_folder, version).generation(generation).users.lookup(users)[0]
