"""The follower: brings to a tower's host what live generations need, and takes away what none needs any more.

`python -m serving.workers.follower` runs it beside the tower's server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.errors import ConflictError, IntegrityError, NotHeldError, PagodaError, UnavailableError
from pagoda.generations.holding import Holding
from pagoda.generations.hosts import HOLDING_PATH
from pagoda.generations.live import GRACE, live
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.generations.state import ReleaseState
from pagoda.index.factory import open_copies
from pagoda.settings import Settings, load_settings, socket_path
from serving import logs
from serving.tower.archive_trust import read_checksums, write_checksums
from serving.tower.kserve.models import KServeModels
from serving.tower.torchserve_models import TowerModels
from serving.workers.collection_copies import CollectionCopies, StoreCopies
from serving.workers.deliveries import Deliveries
from serving.workers.loop import HomeOption, MetricsPort, follow_until_told
from serving.workers.metrics import BRING_SECONDS, HELD, LOG_HEAD, REFUSED, STABLE_HELD
from serving.workers.table_guard import Guard
from serving.workers.tower_archives import TowerArchives
from serving.workers.tower_host import LocalTowers, NoTowers, TowerHost

RETRY_SECONDS = 30.0
"""How long a refused generation is left alone: a damaged artifact may be replaced, but not within a poll."""
_TOWERS = "towers"
_log = logging.getLogger(__name__)


class Follower:
    """Keeps one tower host in line with the release log. What is refused changes nothing that serves."""

    def __init__(
        self,
        log: ReleaseLog,
        folder: Path,
        towers: TowerHost,
        *,
        collections: StoreCopies | None = None,
        grace: timedelta = GRACE,
        monotonic: Callable[[], float] = time.monotonic,
        thread: Executor | None = None,
    ) -> None:
        """Start following; what a killed follower left half done is removed.

        Args:
            log: The release log.
            folder: The host's tables folder.
            towers: Which full versions the tower's server holds.
            collections: Where they come from a store, that store's, and this host's copies.
            grace: How long a generation stays after it served.
            monotonic: Clock of the retries.
            thread: A single one, where what takes long is done while steps go on: a collection, a full version's
                tables, a tower. None: steps do it, and end when it is done.
        """
        self._log, self._folder, self._towers = log, folder, towers
        self._grace, self._monotonic = grace, monotonic
        self._collections = CollectionCopies(collections, monotonic)
        self._tables = TablesWriter(folder)
        self._tables.sweep()
        self._retry_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._said: Holding | None = None
        self._done: tuple[int, tuple[str, ...]] | None = None
        self._begun: dict[str, float] = {}
        """When generations that are on their way were first seen."""
        self._kept_towers: set[int] | None = None
        self._deliveries = Deliveries(thread)
        self._background = ThreadPoolExecutor(1, "compaction")
        self._guard = Guard(folder, self._tables, monotonic)

    def step(self) -> Holding:
        """Bring the host in line with the log, as far as possible, and say how far that is.

        Raises:
            UnavailableError: The log, an artifact or the tower's server does not answer; all else was done.
            OSError: The disk is full, say; all else was done.
            IntegrityError: An archive that the tower's server has lost is missing or damaged; all else was done.
        """
        state = self._log.state()
        wanted = live(state, self._log.now(), self._grace)
        if self._guard.watch([state.generations[id_] for id_ in wanted]):
            self._done = None
        aligned = self._said and self._done == (state.head, wanted)
        failures = self._tend() if aligned else self._align(state, wanted)
        if failures:
            raise failures[0]
        return self.said

    def _align(self, state: ReleaseState, wanted: tuple[str, ...]) -> list[Exception]:
        """Bring and take away what differs from the log; returns what went wrong. All else was done."""
        manifests = [state.generations[id_] for id_ in wanted]
        self._refused = {id_: reason for id_, reason in self._refused.items() if id_ in wanted}
        self._begun = {id_: at for id_, at in self._begun.items() if id_ in wanted}
        self._deliveries.keep({_TOWERS, *map(_parts, manifests)})
        failures: list[Exception] = []
        self._name_archives(manifests)
        held = self._held()
        for manifest in manifests:
            try:
                self._bring(manifest, held)
            except (UnavailableError, OSError) as error:  # A full disk, too, is not to keep the rest from what serves.
                failures.append(error)
        self._switch(state.stable)
        if state.stable:  # An empty log is more likely a lost one than the end of everything.
            self._retire(set(wanted))
            # Those on their way, too, or each try would bring them anew; what a lost log named is searched by none.
            needed = [state.generations[id_] for id_ in self._held().union(wanted).intersection(state.generations)]
            self._kept_towers = {manifest.full_version for manifest in needed} | self._held_versions()
            self._collections.keep({manifest.collection for manifest in needed})
        # Before copies are looked at: one that turns out to be none any more is brought in the next step.
        self._done = None if self._refused or failures or self._deliveries.names - {_TOWERS} else (state.head, wanted)
        self._say(state.head)
        _tell(self.said, state.stable)
        return failures + self._tend()

    def _tend(self) -> list[Exception]:
        """See to what is here, and go on whatever it is that goes wrong."""
        failures: list[Exception] = []
        try:
            self._deliveries.done(_TOWERS, self._tend_towers)
        except (PagodaError, OSError) as error:
            failures.append(error)
        followed = False
        try:
            followed = self._collections.follow()
        except (PagodaError, OSError) as error:  # A tower's trouble is not to keep item changes away.
            failures.append(error)
        if not followed:  # Some may be no copies any more, whatever kept the look at others from its end.
            self._done = None
        return failures

    def _tend_towers(self) -> None:
        if self._kept_towers is not None:
            self._towers.keep(self._kept_towers)
        self._towers.repair()

    @property
    def said(self) -> Holding:
        """What the host holds, as of the last look."""
        return self._said or Holding(head=0, current=None, held=())

    def close(self) -> None:
        """Let background work finish."""
        self._deliveries.close()
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
        begin = self._begun.setdefault(manifest.id, self._monotonic())
        try:
            if not self._has_parts(manifest):
                return
            if manifest.id not in held:
                self._install(manifest)
        except (IntegrityError, ConflictError, NotHeldError) as error:
            self._refuse(manifest.id, error)
            return
        self._refused.pop(manifest.id, None)
        self._begun.pop(manifest.id, None)
        if manifest.id in held:
            return
        self._background.submit(self._compact, manifest.id)
        seconds = self._monotonic() - begin
        BRING_SECONDS.observe(seconds)
        _log.info("generation %s is held, after %.2f s", manifest.id, seconds)

    def _has_parts(self, manifest: Manifest) -> bool:
        """Whether all is here that takes long, and that generations of one full version share; else it is on its way.

        Raises what kept it away.
        """
        parts = _parts(manifest)
        if parts not in self._deliveries.names and (
            self._collections.has(manifest)
            and self._tables.has_full(manifest.full_version)
            and self._towers.holds(manifest.full_version)
        ):
            return True
        return self._deliveries.done(parts, partial(self._deliver, manifest))

    def _deliver(self, manifest: Manifest) -> None:
        self._collections.ensure(manifest)
        self._tables.install_full(manifest.full_version, manifest.base.uri, manifest.base.checksum)
        self._towers.ensure(manifest.full_version, manifest.tower)

    def _install(self, manifest: Manifest) -> None:
        """Bring what is a generation's own, and last the record that lets it serve."""
        chain = [segment.checksum for segment in manifest.segments]
        sources = {segment.checksum: segment.uri for segment in manifest.segments}
        for checksum in reversed(self._tables.missing(chain)):
            self._tables.install_segment(sources[checksum], checksum)
        self._tables.put_generation(manifest.id, manifest.full_version, chain)

    def _refuse(self, id_: str, error: PagodaError) -> None:
        if self._refused.get(id_) != str(error):
            _log.error("generation %s is refused, serving goes on without it: %s", id_, error)
        self._refused[id_] = str(error)
        self._retry_at[id_] = self._monotonic() + RETRY_SECONDS
        self._begun.pop(id_, None)

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
        for record in self._tables.records():
            if record.generation not in keep:
                self._tables.retire(record.generation)
                _log.info("generation %s is retired", record.generation)

    def _held_versions(self) -> set[int]:
        return {record.full_version for record in self._tables.records()}

    def _held(self) -> set[str]:
        return {record.generation for record in self._tables.records()}

    def _current(self) -> str | None:
        try:
            return TowerTables(self._folder, 0).current()
        except (NotHeldError, IntegrityError):  # What is damaged is written anew.
            return None

    def _say(self, head: int) -> None:
        holding = Holding(
            head=head, current=self._current(), held=tuple(sorted(self._held())), refused=dict(self._refused)
        )
        if holding != self._said:
            holding.write(self._folder)
            self._said = holding


def _parts(manifest: Manifest) -> str:
    """What the parts are called together that generations share."""
    return f"full version {manifest.full_version} with collection {manifest.collection} in {manifest.backend}"


def _tell(holding: Holding, stable: str | None) -> None:
    """Let Prometheus know; a host that lacks nothing holds what serves, also when nothing does yet."""
    LOG_HEAD.set(holding.head)
    HELD.set(len(holding.held))
    REFUSED.set(len(holding.refused))
    STABLE_HELD.set(stable is None or stable in holding.held)


def main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the release log.")] = 0.25,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that a generation stays after it served.")
    ] = GRACE.total_seconds(),
    once: Annotated[
        bool, typer.Option("--once", help="Look once; fail when the stable generation is not held.")
    ] = False,
    metrics_port: MetricsPort = 0,
) -> None:
    """Bring to this host what live generations need."""
    settings = load_settings(home)
    logs.start(settings.logs)
    log = open_log(settings)
    towers, copies = _towers_of(settings), open_copies(settings) if settings.index.copied else None
    # A single look is to end when all is here.
    thread = None if once else ThreadPoolExecutor(1, "delivery")
    lasting = timedelta(seconds=grace)
    follower = Follower(log, settings.tables_folder, towers, collections=copies, grace=lasting, thread=thread)
    try:
        if once:
            stable = log.state().stable
            raise typer.Exit(stable is not None and stable not in follower.step().held)
        _log.info("following %s into %s", settings.log_url, settings.tables_folder)
        said = {HOLDING_PATH: lambda: follower.said.model_dump_json().encode()}
        follow_until_told(follower, poll, "follower", metrics_port, said)
    finally:
        follower.close()


def _towers_of(settings: Settings) -> TowerHost:
    """What has towers on this host: the recall process, or a server if Pagoda manages its models."""
    if settings.tower.runtime == "in_process":
        return LocalTowers(TowerArchives(settings.towers_folder, settings.tables_folder))
    if settings.tower.runtime == "kserve":
        local = socket_path(settings.tower.url) is not None
        return LocalTowers(KServeModels(settings.tower.url, settings.home / "archives")) if local else NoTowers()
    if not settings.tower.management_url:
        return NoTowers()
    return LocalTowers(TowerModels(settings.tower.management_url, settings.home / "archives"))


if __name__ == "__main__":
    from serving.process import run

    run(main)
