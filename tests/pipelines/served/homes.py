"""An installation whose present is a moment of its data, and deltas made up for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable
from pagoda.generations.creation import add_incremental
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionDraft, VersionRecord, incremental_key
from pagoda.registry.factory import open_registry
from pagoda.settings import Settings
from pagoda.standalone.platform import Platform
from pagoda.standalone.status import Health
from pagoda.standalone.supervision.processes import processes_of
from pagoda.updates.incremental import tip_of
from pagoda.updates.incremental_steps import Done, run_all

from .full_updates import Run


@dataclass
class Home:
    """An installation that serves a full version; the present is a moment of the data."""

    platform: Platform
    settings: Settings
    dataset: Dataset
    now: datetime

    @property
    def log(self) -> ReleaseLog:
        """The release log."""
        return open_log(self.settings)

    def state(self) -> ReleaseState:
        """What the log says."""
        return self.log.state()

    def learn(self) -> Done:
        """Go on in the data's time until there is something to learn, and learn it."""
        while True:
            self.now += timedelta(hours=6)
            outcomes = list(run_all(self.settings, str(self.dataset.path), self.now).values())
            if isinstance(outcomes[0], Done):
                return outcomes[0]

    def run(self, shards: int = 1) -> Run:
        """A full update up to the present, in a process of its own."""
        return Run(self.platform.home, self.dataset.path, self.now, shards)

    def next_run(self) -> Run:
        """The run of the next days."""
        self.now += timedelta(days=2)
        return self.run()

    def draft(self, folder: Path, users: Collection[int]) -> VersionDraft:
        """An incremental version of the champion, made up: it gives `users` rows that no other version has."""
        state = self.state()
        base = state.version(state.champion or 0)
        tip = tip_of(state, base.version)
        parent = state.versions[tip.incremental_version] if tip.incremental_version else None
        table = IdTable.open(Path(base.uri) / "users")
        # Another end each time: after a rollback, the same window would be the version that was rolled back.
        window = Window(start=tip.window.end, end=tip.window.end + timedelta(microseconds=state.head))
        rows = np.random.default_rng(state.head).normal(size=(len(users), table.dim)).astype(np.float32)
        Segment.write(
            folder / "segment",
            np.array(sorted(users), np.int64),
            rows,
            base_checksum=table.checksum,
            base_version=base.version,
            window=window,
            parent=parent.segment if parent else None,
        )
        key = incremental_key(window, base.version, parent.version if parent else None)
        below = parent.version if parent else None
        return VersionDraft(
            key=key, update="incremental", base=base.version, window=window, parent=below, folder=folder
        )

    def register(self, draft: VersionDraft) -> tuple[VersionRecord, Manifest]:
        """Register a version and record its generation; nothing serves it yet."""
        record = open_registry(self.settings).register(draft)
        return record, add_incremental(self.log, record.version)


def kill(platform: Platform, service: str, part: str = "") -> None:
    """Kill a service's processes, those alone whose command names `part`; the supervisor starts it again."""
    found = [process for process in processes_of(platform.home, service) if part in " ".join(process.cmdline())]
    assert found
    for process in found:
        process.kill()
    psutil.wait_procs(found)


def healthy(platform: Platform, service: str) -> bool:
    """Whether a service works again."""
    return any(status.name == service and status.health is Health.HEALTHY for status in platform.status())
