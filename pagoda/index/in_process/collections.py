"""Collections in a folder, searched by whoever opens it."""

from __future__ import annotations

import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.errors import DataError, IntegrityError, UnavailableError
from pagoda.index.base import DEFAULT_INDEX, CollectionFacts, FileImport, Hits
from pagoda.index.in_process import changed_share
from pagoda.index.in_process.changed_items import ChangedItems
from pagoda.index.in_process.collection_files import CollectionFiles, Place, changed_rows, deleted_rows
from pagoda.index.in_process.facts import facts_of
from pagoda.index.in_process.index_folder import read_record
from pagoda.index.in_process.indexed_items import IndexedItems
from pagoda.index.in_process.snapshot import Snapshot
from pagoda.item_vectors.fields import FilterField
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.settings import CollectionConfig

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class _Held:
    """What is in memory of a collection, and of which files it was made."""

    index: Place
    overlay: Place | None
    snapshot: Snapshot
    looked: float
    """When that was compared with what is there."""


class FolderCollections:
    """`pagoda.index.base.Collections` of one folder, which any number of processes may share."""

    file_import: FileImport | None = None

    def __init__(self, folder: Path, look_seconds: float = 0.0, refine: int = 1) -> None:
        """Nothing is read or written yet.

        Args:
            folder: Of the collections.
            look_seconds: How old what is known of the files may be when something is searched.
            refine: See `CollectionConfig`; of all searches, so that a probe finds what recall does.
        """
        self.uri, self._refine = str(folder), refine
        self._folder, self._look_seconds = folder, look_seconds
        self._held: dict[str, _Held] = {}
        self._reading = threading.Lock()

    def close(self) -> None:
        """Forget what is in memory."""
        self._held.clear()

    def names(self) -> list[str]:
        """Names of all collections in the folder, sorted."""
        return sorted(path.parent.name for path in self._folder.glob("[!.]*/schema.arrow"))

    def exists(self, name: str) -> bool:
        """Whether there is a collection `name`."""
        return self._files(name).exists

    def description(self, name: str) -> str:
        """See `Collections.description`."""
        with self._there("description", name) as files:
            return files.description

    def facts(self, name: str) -> CollectionFacts:
        """See `Collections.facts`."""
        with self._there("description", name) as files:
            return facts_of(files)

    def create(
        self,
        name: str,
        dim: int,
        fields: Sequence[FilterField],
        *,
        keys: bool,
        description: str,
        config: CollectionConfig = DEFAULT_INDEX,
    ) -> None:
        """See `Collections.create`.

        Raises:
            DataError: The name is none.
            ConflictError: It exists already.
        """
        if not _NAME.fullmatch(name):
            raise DataError(f"collection {name!r}: a name is letters, digits and underscores")
        self._files(name).create(dim, fields, keys=keys, description=description)

    def insert(self, name: str, batch: pa.RecordBatch, progress: Callable[[int], None] | None = None) -> None:
        """See `Collections.insert`."""
        with self._there("insertion", name) as files:
            files.insert(batch)
        if progress:
            progress(batch.num_rows)

    def upsert(self, name: str, batch: pa.RecordBatch) -> None:
        """See `Collections.upsert`; the next search sees them."""
        with self._there("upsert", name) as files:
            files.change(changed_rows(files.schema, batch))

    def delete(self, name: str, ids: np.ndarray) -> None:
        """See `Collections.delete`; the next search sees it."""
        with self._there("deletion", name) as files:
            files.change(deleted_rows(files.schema, ids))

    def flush(self, name: str) -> None:
        """What was inserted is durable already."""
        with self._there("flush", name):
            return

    def start_index(self, name: str, config: CollectionConfig) -> None:
        """See `Collections.start_index`; who waits for it builds it."""
        with self._there("indexing", name) as files:
            files.ask_for(config)

    def indexed_rows(self, name: str) -> int | None:
        """See `Collections.indexed_rows`."""
        with self._there("index state", name) as files:
            if files.index_state is not None:
                return read_record(files.index).rows
            return None if files.wanted is None else 0

    def wait_indexed(
        self, name: str, rows: int, timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """See `Collections.wait_indexed`; what is not inserted now will not come."""
        deadline = time.monotonic() + timeout_seconds

        def built(count: int) -> None:
            if time.monotonic() > deadline:
                raise UnavailableError(f"{count} rows are in after {timeout_seconds:.0f} s")
            if progress:
                progress(count)

        with self._there("indexing", name) as files:
            if (config := files.wanted) is not None:
                files.build_index(config, built)
        done = self.indexed_rows(name) or 0
        if done < rows:
            raise UnavailableError(f"index of collection {name!r} at {self.uri} holds {done} rows, expected {rows}")
        if progress:
            progress(done)

    def start_loading(self, name: str) -> None:
        """See `Collections.start_loading`; whoever searches it first reads it."""
        with self._there("loading", name) as files:
            if files.index_state is None:
                raise UnavailableError("it has no index yet")
            files.loaded.touch()

    def load(self, name: str, timeout_seconds: float = 600.0) -> None:
        """See `Collections.load`; an index that was asked for is waited for."""
        self.wait_indexed(name, 0, timeout_seconds)
        self.start_loading(name)
        snapshot = self._snapshot("loading", name)
        with self._there("loading", name):
            _ = snapshot.items.text  # Damage to it is found now, and not by whoever looks for words first.

    def loaded(self, name: str) -> bool:
        """See `Collections.loaded`."""
        return self._files(name).loaded.exists()

    def release(self, name: str) -> None:
        """See `Collections.release`."""
        with self._there("release", name) as files:
            files.loaded.unlink(missing_ok=True)
        self._held.pop(name, None)

    def count(self, name: str) -> int:
        """See `Collections.count`."""
        return len(self._snapshot("count", name))

    def kept(self, name: str, wanted: Filter) -> tuple[int, int]:
        """How many items pass a filter, and how many there are; see `pagoda.index.base.FilterCount`."""
        snapshot = self._snapshot("count", name)
        return snapshot.count(wanted), len(snapshot)

    def search(
        self,
        name: str,
        vectors: np.ndarray,
        k: int,
        *,
        effort: int,
        wanted: Filter = EVERYTHING,
        excluded: Sequence[int] = (),
        keys: bool = False,
    ) -> list[Hits]:
        """See `Collections.search`."""
        snapshot = self._snapshot("search", name)
        if vectors.shape[1:] != (snapshot.dim,):
            where = f"search of collection {name!r} at {self.uri}"
            raise UnavailableError(f"{where}: {vectors.shape}, vectors have {snapshot.dim}")
        return snapshot.search(vectors, k, effort, wanted, excluded, keys=keys)

    def vectors(self, name: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """Vectors of items by their IDs; see `pagoda.index.base.ItemSearch`."""
        return self._snapshot("reading", name).vectors(ids)

    def match(
        self,
        name: str,
        text: str,
        k: int,
        *,
        wanted: Filter = EVERYTHING,
        excluded: Sequence[int] = (),
        keys: bool = False,
    ) -> Hits:
        """Find the k items whose words are nearest to a text; see `pagoda.index.base.TextSearch`."""
        snapshot = self._snapshot("text search", name)
        with self._there("text search", name):
            return snapshot.match(text, k, wanted, excluded, keys=keys)

    def known(self, name: str) -> bool:
        """Whether a search of it reads no file now."""
        held = self._held.get(name)
        return held is not None and time.monotonic() - held.looked < self._look_seconds

    def drop(self, name: str) -> None:
        """See `Collections.drop`."""
        self._remove(name)

    def _remove(self, name: str) -> None:
        shutil.rmtree(self._move_away(name), ignore_errors=True)

    def _move_away(self, name: str) -> Path:
        """In one step: what is removed half would be neither a collection nor none."""
        self._held.pop(name, None)
        aside = self._folder / f".{name}.{uuid.uuid4().hex}"
        if self._files(name).exists:
            (self._folder / name).rename(aside)
        return aside

    def _snapshot(self, doing: str, name: str) -> Snapshot:
        held, now = self._held.get(name), time.monotonic()
        if held is not None and self._look_seconds:
            # While another thread looks, what was held is as good as it was a moment ago.
            if now - held.looked < self._look_seconds or not self._reading.acquire(blocking=False):
                return held.snapshot
        else:
            self._reading.acquire()
        try:
            with self._there(doing, name) as files:
                return self._look(name, files, now)
        finally:
            self._reading.release()

    def _look(self, name: str, files: CollectionFiles, now: float) -> Snapshot:
        # Others may have let go of what nobody here will ask for again.
        for other in [other for other in list(self._held) if not self.loaded(other)]:
            self._held.pop(other, None)
            changed_share.forget(other)
        if not files.loaded.exists():
            raise UnavailableError("it is not loaded")
        # Before they are read: what changes meanwhile is read again by the next.
        index, overlay, held = files.index_state, files.overlay_state, self._held.get(name)
        if held is None or held.index != index:
            if index is None:
                raise UnavailableError("it has no index")
            snapshot = Snapshot(IndexedItems(files.index), ChangedItems(files.overlay()), self._refine)
        elif held.overlay != overlay:
            snapshot = Snapshot(held.snapshot.items, ChangedItems(files.overlay()), self._refine, held.snapshot)
        else:
            index, snapshot = held.index, held.snapshot
        if held is None or snapshot is not held.snapshot:
            changed_share.tell(name, snapshot, held.snapshot if held else None)
        self._held[name] = _Held(index, overlay, snapshot, now)
        return snapshot

    @contextmanager
    def _there(self, doing: str, name: str) -> Iterator[CollectionFiles]:
        """The files of a collection that exists, and what goes wrong with them in Pagoda's words."""
        with self._said(doing, name):
            files = self._files(name)
            if not files.exists:
                raise IntegrityError("the collection does not exist")
            yield files

    @contextmanager
    def _said(self, doing: str, name: str) -> Iterator[None]:
        where = f"{doing} of collection {name!r} at {self.uri}"
        try:
            yield
        except (DataError, IntegrityError, UnavailableError) as error:
            raise type(error)(f"{where}: {error}") from error
        except (OSError, pa.ArrowException, RuntimeError) as error:  # The last is all that faiss raises.
            raise UnavailableError(f"{where}: {error}") from error

    def _files(self, name: str) -> CollectionFiles:
        return CollectionFiles(self._folder / name)
