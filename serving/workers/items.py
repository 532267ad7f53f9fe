"""The item-change worker: brings what the item log says into every live collection, and into the dataset.

`python -m serving.workers.items` runs it. A collection that it sees for the first time gets all of the log, since only
the last change of each item counts and bringing it in twice does no harm: so it keeps no position, and any number run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import typer

from pagoda.append_log.store import open_store
from pagoda.data.increments import changes_name, changes_of
from pagoda.data.layout import FEATURES_FILE, schema_of
from pagoda.data.spec import parse_spec
from pagoda.errors import ConflictError, DataError, IntegrityError, PagodaError, UnavailableError
from pagoda.generations.live import GRACE, live
from pagoda.generations.manifest import MILVUS, Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.item_changes.changes import ItemChanges, fitting
from pagoda.item_changes.compaction import ItemCompaction
from pagoda.item_changes.log import ItemLog, item_log_url, open_item_log
from pagoda.item_changes.positions import Positions, write_positions
from pagoda.settings import Settings, load_settings, require_parts
from pagoda.storage.copies import children, delete
from pagoda.updates.item_replay import ItemReplay
from serving import logs
from serving.workers.event_files import parquet
from serving.workers.loop import HomeOption, MetricsPort, follow_until_told
from serving.workers.metrics import ITEMS_BEHIND, ITEMS_HEAD

POLL_SECONDS = 0.25
DATASET_SECONDS = 30.0
"""How often at most the dataset's file of changed items is written anew."""
SAY_SECONDS = 10.0
"""How often at most it is said how far collections are."""
COMPACTION_SECONDS = 3600.0
_log = logging.getLogger(__name__)


class ItemWorker:
    """Keeps collections and dataset in line with the item log."""

    def __init__(
        self,
        log: ReleaseLog,
        item_log: ItemLog,
        items: ItemReplay,
        dataset: str,
        *,
        backend: str = MILVUS,
        find: Callable[[], str] | None = None,
        grace: timedelta = GRACE,
        dataset_seconds: float = DATASET_SECONDS,
        compaction: ItemCompaction | None = None,
        say: Callable[[Positions], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._item_log, self._items, self._dataset = log, item_log, items, dataset
        self._backend, self._find = backend, find  # Says, while there is no dataset, which one it is by now.
        self._compaction, self._compact_at = compaction, 0.0
        self._say_positions, self._said, self._say_at = say, dict[str, int](), 0.0
        self._grace, self._dataset_seconds, self._monotonic = grace, dataset_seconds, monotonic
        self._changes = ItemChanges()
        self._applied: dict[str, int] = {}
        self._written, self._write_at = 0, 0.0
        self._refused: dict[str, str] = {}

    def step(self) -> int:
        """Bring in what is new; returns the number of the last record.

        Raises:
            UnavailableError: A log, the index or a store does not answer; all else was done.
        """
        self._changes.take(self._item_log.records(self._changes.head))
        ITEMS_HEAD.set(self._changes.head)
        failures: list[PagodaError] = []
        for manifest in (manifests := self._live()):
            if self._applied.get(manifest.collection, 0) < self._changes.head:
                try:
                    self._bring(manifest)
                except UnavailableError as error:
                    failures.append(error)
                except (DataError, IntegrityError) as error:  # No other collection has to go without its changes.
                    self._refuse(manifest, error)
        behind = [one for one in manifests if self._applied.get(one.collection, 0) < self._changes.head]
        ITEMS_BEHIND.set(len(behind))
        try:
            self._say()
        except UnavailableError as error:
            failures.append(error)
        if self._written < self._changes.head and self._monotonic() >= self._write_at:
            self._write()
        if self._compaction and self._monotonic() >= self._compact_at:
            self._compact_at = self._monotonic() + COMPACTION_SECONDS
            self._compaction.step(datetime.now(UTC))
        if failures:
            raise failures[0]
        return self._changes.head

    def _live(self) -> list[Manifest]:
        """One manifest of each live collection."""
        state = self._log.state()
        wanted = (state.generations[id_] for id_ in live(state, self._log.now(), self._grace))
        # Until its grace is over, what served before a rebuild is live, too; nobody searches in its backend any more.
        manifests = [manifest for manifest in wanted if manifest.backend == self._backend]
        by_collection = {manifest.collection: manifest for manifest in reversed(manifests)}
        self._applied = {name: number for name, number in self._applied.items() if name in by_collection}
        self._items.keep({manifest.full_version for manifest in manifests})
        return list(by_collection.values())

    def _bring(self, manifest: Manifest) -> None:
        changes = self._changes.after(self._applied.get(manifest.collection, 0))
        begin = self._monotonic()
        self._items.apply(manifest, changes, self._changes.head)
        self._applied[manifest.collection] = self._changes.head
        self._refused.pop(manifest.collection, None)
        seconds = self._monotonic() - begin
        _log.info("%s: %d items, up to record %d, in %.2f s", manifest.id, len(changes), self._changes.head, seconds)

    def _refuse(self, manifest: Manifest, error: PagodaError) -> None:
        if self._refused.get(manifest.collection) != str(error):
            _log.error("generation %s goes without item changes: %s", manifest.id, error)
        self._refused[manifest.collection] = str(error)

    def _say(self) -> None:
        if self._say_positions and self._applied != self._said and self._monotonic() >= self._say_at:
            said, self._say_at = dict(self._applied), self._monotonic() + SAY_SECONDS
            self._say_positions(Positions(at=datetime.now(UTC), head=self._changes.head, applied=said))
            self._said = said

    def _write(self) -> None:
        """Put the changed items into the dataset, for the next full update."""
        store = open_store(self._dataset)
        found = store.read([FEATURES_FILE])
        if not found:
            self._dataset = self._find() if self._find else self._dataset
            return
        schema = schema_of(parse_spec(found[0], f"{self._dataset}/{FEATURES_FILE}"), "items")
        batch, others = fitting(self._changes.described, schema)
        if others:
            first = others[0].item_id
            _log.error("%d changed items do not fit the dataset, %r first; upsert them again", len(others), first)
        if batch.num_rows:
            name = changes_name(self._changes.head)
            try:
                store.put(f"items/{name}", parquet([batch], schema))
            except ConflictError:  # Another worker was first; both made the same.
                if not store.read([f"items/{name}"]):
                    return  # Or is about to create it, says S3, and may yet fail.
            self._forget_older()
        self._written, self._write_at = self._changes.head, self._monotonic() + self._dataset_seconds

    def _forget_older(self) -> None:
        """Delete files of changed items but the last two: somebody may be reading the last but one."""
        folder = f"{self._dataset.rstrip('/')}/items"
        for name in sorted(name for name in children(folder) if changes_of(name) is not None)[:-2]:
            delete(f"{folder}/{name}")


def main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the item log.")] = POLL_SECONDS,
    metrics_port: MetricsPort = 0,
) -> None:
    """Bring item changes into every live collection and into the dataset."""
    settings = load_settings(home)
    logs.start(settings.logs)
    with open_item_worker(settings) as worker:
        follow_until_told(worker, poll, "items", metrics_port)


@contextmanager
def open_item_worker(settings: Settings) -> Iterator[ItemWorker]:
    """The item worker of an installation.

    Raises:
        ConfigError: There is no search backend.
    """
    require_parts(settings, "items", "index")
    log = open_log(settings)
    items = ItemReplay(settings, log)
    try:
        compaction = ItemCompaction(item_log_url(settings), settings.items.kept, key=settings.signing_key)
        yield ItemWorker(
            log,
            open_item_log(settings),
            items,
            settings.events_dataset,
            backend=settings.index.backend,
            find=lambda: load_settings(settings.home).events_dataset,
            compaction=compaction,
            say=partial(write_positions, item_log_url(settings)),
        )
    finally:
        items.close()


if __name__ == "__main__":
    from serving.process import run

    run(main)
