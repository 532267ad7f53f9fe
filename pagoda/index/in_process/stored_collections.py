"""Collections in a store, and copies of those that this host searches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.errors import IntegrityError
from pagoda.index.base import DEFAULT_INDEX, CollectionFacts, made_of
from pagoda.index.in_process.collection_files import (
    CollectionFiles,
    build_in,
    changed_rows,
    deleted_rows,
    description_in,
)
from pagoda.index.in_process.collection_store import CollectionStore
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.fields import FilterField
from pagoda.settings import CollectionConfig
from pagoda.storage.atomic import sweep_asides


class StoredCollections(FolderCollections):
    """`pagoda.index.base.Collections` of a store, which any number of hosts may share.

    A collection is built in this host's folder, and goes into the store when it may be searched. What searches here, a
    probe or a measurement, brings a copy first; who changes items does not.
    """

    def __init__(self, folder: Path, store: CollectionStore, refine: int = 1) -> None:
        """Nothing is read or written yet.

        Args:
            folder: Of this host's copies.
            store: Where they are from.
            refine: See `CollectionConfig`.
        """
        super().__init__(folder, refine=refine)
        self.uri, self._store = store.url, store

    def names(self) -> list[str]:
        """Names of all collections: in the store, also of what is there in part, and of those that are built here."""
        return sorted({*self._store.names(), *(name for name in super().names() if not self._copied(name))})

    def exists(self, name: str) -> bool:
        """Whether there is a collection `name`."""
        return self._store.find(name) is not None or (super().exists(name) and not self._copied(name))

    def facts(self, name: str) -> CollectionFacts:
        """See `Collections.facts`: of what the store has, and no copy is brought for it.

        Changed items are counted where this host has a copy with all changes, as one has that searches.
        """
        with self._said("description", name):
            if (stored := self._store.find(name)) is not None:
                files = self._files(name)
                copy = files if self._is_copy_of(stored, files) else None
                return self._store.facts(name, stored, copy)
        return super().facts(name)

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
        """See `Collections.create`; a copy of what the store has no more makes room."""
        if self._copied(name) and self._store.find(name) is None:
            self._remove(name)
        super().create(name, dim, fields, keys=keys, description=description, config=config)

    def upsert(self, name: str, batch: pa.RecordBatch) -> None:
        """See `Collections.upsert`; hosts see it when they look, each second."""
        self._change("upsert", name, lambda schema: changed_rows(schema, batch))

    def delete(self, name: str, ids: np.ndarray) -> None:
        """See `Collections.delete`; hosts see it when they look, each second."""
        self._change("deletion", name, lambda schema: deleted_rows(schema, ids))

    def _change(self, doing: str, name: str, rows: Callable[[pa.Schema], pa.Table]) -> None:
        with self._said(doing, name):
            files = self._files(name)
            if (stored := self._store.find(name)) is not None:
                self._store.append(name, stored, rows(stored))
            elif files.exists and files.taken is None:
                files.change(rows(files.schema))
            else:
                raise IntegrityError("the collection does not exist")

    def start_loading(self, name: str) -> None:
        """See `Collections.start_loading`: hosts may search it."""
        here = self._store.find(name) is None
        if here:
            super().start_loading(name)
        with self._said("loading", name):
            if here:
                self._store.put(name, self._files(name))
            self._store.offer(name)

    def loaded(self, name: str) -> bool:
        """See `Collections.loaded`."""
        return self._store.offered(name)

    def release(self, name: str) -> None:
        """See `Collections.release`."""
        with self._said("release", name):
            self._store.withdraw(name)

    def drop(self, name: str) -> None:
        """See `Collections.drop`."""
        self._store.drop(name)
        self._remove(name)

    def bring(self, name: str, vectors: str) -> None:
        """Have this host's copy, as the store has it now. One that the store has no more stays: it may serve.

        Args:
            name: Of the collection.
            vectors: Checksum of those that it was built from. What was built of others under its name takes no place.

        Raises:
            IntegrityError: It is not there, or damaged, or of other vectors.
            UnavailableError: The store does not answer, or the disk is full.
        """
        with self._said("copy", name):
            if (stored := self._store.find(name)) is None:
                raise _gone()
            if not description_in(stored).startswith(made_of(vectors)):
                raise IntegrityError(
                    f"it was built anew and holds [{description_in(stored)}], expected vectors {vectors}; a copy that "
                    "is here stays as it is"
                )
            self._bring(name, stored)

    def follow(self, name: str) -> bool:
        """Bring item changes into this host's copy. False: it is none of what the store has now, to be brought.

        Raises:
            IntegrityError: The store has it no more.
            UnavailableError: The store does not answer, or the disk is full.
        """
        with self._said("copy", name):
            stored, files = self._store.find(name), self._files(name)
            if stored is None:
                raise _gone()
            if not self._is_copy_of(stored, files):
                return False
            self._store.follow(name, files)
        return True

    def keep(self, names: Collection[str]) -> None:
        """Remove the copies of all others, and what was killed while it brought or removed one."""
        sweep_asides(self._folder)
        for name in super().names():
            if name not in names and self._copied(name):
                self._remove(name)

    @contextmanager
    def _there(self, doing: str, name: str) -> Iterator[CollectionFiles]:
        with self._said(doing, name):
            self._look_into_store(name)
        with super()._there(doing, name) as files:
            yield files

    def _look_into_store(self, name: str) -> None:
        if (stored := self._store.find(name)) is not None:
            self._bring(name, stored)
        elif self._copied(name):
            raise _gone()

    def _bring(self, name: str, stored: pa.Schema) -> None:
        files = self._files(name)
        if self._is_copy_of(stored, files):
            self._store.follow(name, files)
        else:  # There is none here yet, or another host built it: first, or anew.
            self._store.bring(name, stored, files.folder, lambda: self._move_away(name))
            sweep_asides(self._folder, name)

    def _is_copy_of(self, stored: pa.Schema, files: CollectionFiles) -> bool:
        return files.taken is not None and build_in(files.schema) == build_in(stored)

    def _copied(self, name: str) -> bool:
        return self._files(name).taken is not None


def _gone() -> IntegrityError:
    return IntegrityError(
        "it does not exist in the store; what is here, if anything, is a copy that nothing changes any more"
    )
