"""What the policies learn: full versions day after day, and chains of incremental versions over them.

Nothing is trained here: versions come from `full_update` and `incremental_update`, as pipelines call them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.embeddings import compaction
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.replay.answers import Served
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.update import incremental_update, watermark_of
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.incremental import IncrementalFiles
from pagoda.version_files.open_version import OpenVersion


@dataclass
class Spent:
    """What updates of one kind took so far."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    updates: int = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add the time that the inside takes."""
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu_start


class FullVersion:
    """A full version with its item vectors, opened."""

    def __init__(self, files: FullVersionFiles, dataset: Dataset) -> None:
        self.files = files
        self.frozen = FrozenBase(files, dataset)
        self._open = OpenVersion(files, dataset)
        self._item_vectors, self._mixture = self._open.item_vectors(), files.mixture()

    def served(self, users: Overlay | None = None) -> Served:
        """The version as it serves, with user-ID rows from its base or from an overlay on it."""
        return Served(self._open.under(users) if users else self._open, self._item_vectors, self._mixture)


class FullVersions:
    """Full versions, each warm-started from the one before, each positive learned once."""

    def __init__(self, dataset: Dataset, first: Window, config: TrainConfig, folder: Path) -> None:
        self._dataset, self._config, self._folder = dataset, config, folder
        self.first_spent, self.spent = Spent(), Spent()
        with self.first_spent.measured():
            files = full_update(dataset, first, None, config, folder / "0")
        self.newest = FullVersion(files, dataset)

    def learn(self, until: Window) -> bool:
        """Learn what happened since the newest version up to the end of `until`; False if there was no positive."""
        window = Window(start=self.newest.files.lineage.window.end, end=until.end)
        if not self._dataset.count(window, events=self._dataset.spec.positives):
            return False
        self.spent.updates += 1
        out = self._folder / str(self.spent.updates)
        with self.spent.measured():
            files = full_update(self._dataset, window, self.newest.files, self._config, out)
        self.newest = FullVersion(files, self._dataset)
        return True


class Incrementals:
    """The chain of incremental versions over one full version after another."""

    def __init__(self, dataset: Dataset, base: FullVersion, config: TrainConfig, folder: Path) -> None:
        self._dataset, self._config, self._folder = dataset, config, folder
        self.spent = Spent()
        self._merged = 0
        self.restart(base)

    def restart(self, base: FullVersion) -> None:
        """Begin a chain over `base`."""
        self._base = base
        with self.spent.measured():
            self._frozen = FrozenBase(base.files, self._dataset)
        self._newest: IncrementalFiles | None = None
        self._segments: list[Segment] = []

    def learn(self, until: Window) -> Served | None:
        """Learn what is new up to the end of `until` and return what serves then; None if there was no positive."""
        window = Window(start=watermark_of(self._base.files, self._newest), end=until.end)
        out = self._folder / str(self.spent.updates)
        with self.spent.measured():
            files = incremental_update(self._dataset, window, self._frozen, self._newest, self._config, out=out)
        if files is None:
            return None
        self._newest = files
        self.spent.updates += 1
        self._segments.insert(0, files.delta)
        self._compact()
        return self._base.served(Overlay(self._base.files.users, self._segments))

    def _compact(self) -> None:
        """Merge segments as a serving host does, so that a lookup never has many to search."""
        while (neighbours := compaction.plan([len(segment) for segment in self._segments])) is not None:
            folder = self._folder / f"merged-{self._merged}"
            compaction.merge(self._segments[neighbours], folder)
            self._segments[neighbours] = [Segment.open(folder)]
            self._merged += 1
