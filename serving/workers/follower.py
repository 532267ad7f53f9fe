"""The follower: brings to a tower's host what live generations need, and takes away what none needs any more.

`python -m serving.workers.follower` runs it beside the tower's server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.errors import ConflictError, IntegrityError, NotHeldError, PagodaError, UnavailableError
from pagoda.registry.holding import Holding
from pagoda.registry.live import GRACE, live
from pagoda.registry.log import ReleaseLog
from pagoda.registry.manifest import Manifest
from serving.tower.trust import read_checksums, write_checksums
from serving.workers.guard import Guard
from serving.workers.metrics import BRING_SECONDS, HELD, LOG_HEAD, REFUSED, STABLE_HELD
from serving.workers.towers import Towers

RETRY_SECONDS = 30.0
"""How long a refused generation is left alone: a damaged artifact may be replaced, but not within a poll."""
_log = logging.getLogger(__name__)


class Follower:
    """Keeps one tower host in line with the release log. What is refused changes nothing that serves."""

    def __init__(
        self,
        log: ReleaseLog,
        folder: Path,
        towers: Towers,
        *,
        grace: timedelta = GRACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start following; what a killed follower left half done is removed.

        Args:
            log: The release log.
            folder: The host's tables folder.
            towers: Which full versions the tower's server holds.
            grace: How long a generation stays after it served.
            monotonic: Clock of the retries.
        """
        self._log, self._folder, self._towers = log, folder, towers
        self._grace, self._monotonic = grace, monotonic
        self._tables = TablesWriter(folder)
        self._tables.sweep()
        self._retry_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._said: Holding | None = None
        self._done: tuple[int, tuple[str, ...]] | None = None
        self._background = ThreadPoolExecutor(1, "compaction")
        self._guard = Guard(folder, self._tables, monotonic)

    def step(self) -> Holding:
        """Bring the host in line with the log, as far as possible, and say how far that is.

        Raises:
            UnavailableError: The log, an artifact or the tower's server does not answer; all else was done.
            IntegrityError: An archive that the tower's server has lost is missing or damaged; all else was done.
        """
        state = self._log.state()
        wanted = live(state, self._log.now(), self._grace)
        if self._guard.watch([state.generations[id_] for id_ in wanted]):
            self._done = None
        if self._said and self._done == (state.head, wanted):
            self._towers.repair()
            return self._said
        self._refused = {id_: reason for id_, reason in self._refused.items() if id_ in wanted}
        failures: list[PagodaError] = []
        self._name_archives([state.generations[id_] for id_ in wanted])
        held = self._held()
        for id_ in wanted:
            try:
                self._bring(state.generations[id_], held)
            except UnavailableError as error:
                failures.append(error)
        self._switch(state.stable)
        try:
            if state.stable:  # An empty log is more likely a lost one than the end of everything.
                self._retire(set(wanted))
            self._towers.repair()
        except (UnavailableError, IntegrityError) as error:
            failures.append(error)
        holding = self._say(state.head)
        _tell(holding, state.stable)
        if failures:
            raise failures[0]
        self._done = None if holding.refused else (state.head, wanted)
        return holding

    def close(self) -> None:
        """Let background work finish."""
        self._background.shutdown()
        self._guard.close()

    def _name_archives(self, manifests: Sequence[Manifest]) -> None:
        """Tell the tower's server which archives it may load when it starts."""
        checksums = {manifest.full_version: manifest.tower.checksum for manifest in manifests}
        if checksums and checksums != read_checksums(self._folder):
            write_checksums(self._folder, checksums)

    def _bring(self, manifest: Manifest, held: set[str]) -> None:
        if self._retry_at.get(manifest.id, 0.0) > self._monotonic():
            return
        begin = self._monotonic()
        try:
            if manifest.id in held:
                self._towers.ensure(manifest.full_version, manifest.tower)
                return
            self._install(manifest)
        except (IntegrityError, ConflictError, NotHeldError) as error:
            self._refuse(manifest.id, error)
            return
        self._refused.pop(manifest.id, None)
        self._background.submit(self._compact, manifest.id)
        seconds = self._monotonic() - begin
        BRING_SECONDS.observe(seconds)
        _log.info("generation %s is held, after %.2f s", manifest.id, seconds)

    def _install(self, manifest: Manifest) -> None:
        """Bring all parts of a generation, and last the record that lets it serve."""
        self._tables.install_full(manifest.full_version, manifest.base.uri, manifest.base.checksum)
        chain = [segment.checksum for segment in manifest.segments]
        sources = {segment.checksum: segment.uri for segment in manifest.segments}
        for checksum in reversed(self._tables.missing(chain)):
            self._tables.install_segment(sources[checksum], checksum)
        self._towers.ensure(manifest.full_version, manifest.tower)
        self._tables.put_generation(manifest.id, manifest.full_version, chain)

    def _refuse(self, id_: str, error: PagodaError) -> None:
        if self._refused.get(id_) != str(error):
            _log.error("generation %s is refused, serving goes on without it: %s", id_, error)
        self._refused[id_] = str(error)
        self._retry_at[id_] = self._monotonic() + RETRY_SECONDS

    def _switch(self, stable: str | None) -> None:
        """Make the stable generation the one that answers requests which name none."""
        if stable is None or stable == self._current() or stable not in self._held():
            return
        self._tables.set_current(stable)
        _log.info("generation %s is current", stable)

    def _compact(self, id_: str) -> None:
        try:
            self._tables.compact(id_)
        except (PagodaError, OSError) as error:  # The next generation tries again; lookups take longer until then.
            _log.warning("compaction of generation %s: %s", id_, error)

    def _retire(self, wanted: set[str]) -> None:
        keep = {*wanted, self._current()}
        records = self._tables.records()
        for record in records:
            if record.generation not in keep:
                self._tables.retire(record.generation)
                _log.info("generation %s is retired", record.generation)
        self._towers.keep({record.full_version for record in records if record.generation in keep})

    def _held(self) -> set[str]:
        return {record.generation for record in self._tables.records()}

    def _current(self) -> str | None:
        try:
            return TowerTables(self._folder, 0).current()
        except (NotHeldError, IntegrityError):  # What is damaged is written anew.
            return None

    def _say(self, head: int) -> Holding:
        holding = Holding(
            head=head, current=self._current(), held=tuple(sorted(self._held())), refused=dict(self._refused)
        )
        if holding != self._said:
            holding.write(self._folder)
            self._said = holding
        return holding


def _tell(holding: Holding, stable: str | None) -> None:
    """Let Prometheus know; a host that lacks nothing holds what serves, also when nothing does yet."""
    LOG_HEAD.set(holding.head)
    HELD.set(len(holding.held))
    REFUSED.set(len(holding.refused))
    STABLE_HELD.set(stable is None or stable in holding.held)


if __name__ == "__main__":
    from serving.process import run
    from serving.workers.following import main

    run(main)
