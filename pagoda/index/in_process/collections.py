"""Collections in a folder, searched exactly by whoever opens it."""

from __future__ import annotations

import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.errors import DataError, IntegrityError, UnavailableError
from pagoda.index.base import FileImport, Hits
from pagoda.index.in_process.collection_files import CollectionFiles
from pagoda.index.in_process.snapshot import Snapshot
from pagoda.item_vectors.fields import FilterField
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.settings import CollectionConfig

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class FolderCollections:
    """`pagoda.index.base.Collections` of one folder, which any number of processes may share.

    Every vector is compared, whatever kind of index is asked for.
    """

    file_import: FileImport | None = None

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self.uri = str(folder)
        self._folder = folder
        self._held: dict[str, tuple[tuple[object, ...], Snapshot]] = {}
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

    def create(self, name: str, dim: int, fields: Sequence[FilterField], *, keys: bool, description: str) -> None:
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
            files.upsert(batch)

    def delete(self, name: str, ids: np.ndarray) -> None:
        """See `Collections.delete`; the next search sees it."""
        with self._there("deletion", name) as files:
            files.delete(ids)

    def flush(self, name: str) -> None:
        """What was inserted is durable already."""
        with self._there("flush", name):
            return

    def start_index(self, name: str, config: CollectionConfig) -> None:
        """See `Collections.start_index`; there is nothing to build."""
        with self._there("indexing", name) as files:
            files.indexed.write_text(config.kind)

    def indexed_rows(self, name: str) -> int | None:
        """See `Collections.indexed_rows`."""
        with self._there("index state", name) as files:
            return len(files.inserted()) if files.indexed.exists() else None

    def wait_indexed(
        self, name: str, rows: int, timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """See `Collections.wait_indexed`; what is not there now will not come."""
        done = self.indexed_rows(name) or 0
        if progress:
            progress(done)
        if done < rows:
            raise UnavailableError(f"index of collection {name!r} at {self.uri} holds {done} rows, expected {rows}")

    def start_loading(self, name: str) -> None:
        """See `Collections.start_loading`; whoever searches it first reads it."""
        with self._there("loading", name) as files:
            if not files.indexed.exists():
                raise UnavailableError(f"collection {name!r} at {self.uri} has no index yet")
            files.loaded.touch()

    def load(self, name: str, timeout_seconds: float = 600.0) -> None:
        """See `Collections.load`."""
        self.start_loading(name)
        self._snapshot("loading", name)

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
        return len(self._snapshot("count", name).ids)

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
        if vectors.shape[1:] != snapshot.vectors.shape[1:]:
            dim = snapshot.vectors.shape[1]
            raise UnavailableError(f"search of collection {name!r} at {self.uri}: {vectors.shape}, vectors have {dim}")
        return snapshot.search(vectors, k, wanted, excluded, keys=keys)

    def drop(self, name: str) -> None:
        """See `Collections.drop`."""
        self._held.pop(name, None)
        # Away in one step: what is removed half would be neither a collection nor none.
        aside = self._folder / f".{name}.{uuid.uuid4().hex}"
        if self.exists(name):
            (self._folder / name).rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _snapshot(self, doing: str, name: str) -> Snapshot:
        with self._there(doing, name) as files, self._reading:
            if not files.loaded.exists():
                raise UnavailableError(f"{doing} of collection {name!r} at {self.uri}: it is not loaded")
            # Before it is read: what changes meanwhile is read again by the next.
            state = files.state()
            if name not in self._held or self._held[name][0] != state:
                # Others may have let go of what nobody here will ask for again.
                self._held = {other: held for other, held in self._held.items() if self.loaded(other)}
                self._held[name] = state, Snapshot.of(files)
            return self._held[name][1]

    @contextmanager
    def _there(self, doing: str, name: str) -> Iterator[CollectionFiles]:
        """The files of a collection that exists, and what goes wrong with them in Pagoda's words."""
        where = f"{doing} of collection {name!r} at {self.uri}"
        files = self._files(name)
        if not files.exists:
            raise IntegrityError(f"{where}: the collection does not exist")
        try:
            yield files
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        except (OSError, pa.ArrowException) as error:
            raise UnavailableError(f"{where}: {error}") from error

    def _files(self, name: str) -> CollectionFiles:
        return CollectionFiles(self._folder / name)
