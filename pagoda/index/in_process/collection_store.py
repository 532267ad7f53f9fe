"""Collections in a store, for hosts that share no file system: a folder by URL, mostly of a bucket.

    NAME/index/…           the index, as in a collection's folder; never changed
    NAME/schema.arrow      written last, so that what has it is whole
    NAME/offered           there while it may be searched
    NAME/changes/00000001  item changes since it was built, in order: rows of overlays, by any number of writers

Who searches it has a copy: brought once, file by file as its checksums say, and then followed change by change.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from pagoda.append_log.store import open_store
from pagoda.errors import ConflictError, IntegrityError
from pagoda.index.in_process.collection_files import SCHEMA, CollectionFiles, arrow_bytes
from pagoda.index.in_process.index_folder import RECORD, read_record
from pagoda.storage.atomic import build_folder
from pagoda.storage.copies import children, copy, delete, download
from pagoda.storage.inventory import verify

_OFFERED, _CHANGES = "offered", "changes"
_AT_ONCE = 32
_PAUSE_SECONDS = 0.05


class CollectionStore:
    """The collections below one URL. Every call raises `UnavailableError` where the store does not answer."""

    def __init__(self, url: str) -> None:
        """Nothing is asked yet."""
        self.url = url.rstrip("/")
        self._records = open_store(self.url)

    def names(self) -> list[str]:
        """Names of all that are whole, sorted."""
        return [name for name in children(self.url) if self.exists(name)]

    def exists(self, name: str) -> bool:
        """Whether there is a whole collection `name`."""
        return bool(self._records.read([f"{name}/{SCHEMA}"]))

    def schema(self, name: str) -> pa.Schema:
        """Its columns.

        Raises:
            IntegrityError: There is none.
        """
        found = self._records.read([f"{name}/{SCHEMA}"])
        if not found:
            raise IntegrityError("the collection does not exist")
        return pa.ipc.read_schema(pa.py_buffer(found[0]))

    def put(self, name: str, files: CollectionFiles) -> None:
        """Put a collection there that is indexed, and make what was put from a copy of it."""
        self.drop(name)  # What a killed one left.
        for path in sorted(files.index.iterdir()):
            copy(str(path), f"{self.url}/{name}/index/{path.name}")
        if changed := len(overlay := files.overlay()):
            self.append(name, overlay)
        copy(str(files.folder / SCHEMA), f"{self.url}/{name}/{SCHEMA}")
        files.take([], min(changed, 1))

    def bring(self, name: str, folder: Path) -> None:
        """Make `folder` a copy, without what has changed since it was built.

        Raises:
            IntegrityError: A file is missing or damaged.
            ConflictError: `folder` exists already.
        """
        place = f"{self.url}/{name}"
        with build_folder(folder) as aside:
            download(f"{place}/{SCHEMA}", aside / SCHEMA)
            download(f"{place}/index/{RECORD}", aside / "index" / RECORD)
            checksums = read_record(aside / "index").checksums
            for file in checksums:
                download(f"{place}/index/{file}", aside / "index" / file)
            verify(aside / "index", checksums)
            CollectionFiles(aside).take([], 0)

    def follow(self, name: str, files: CollectionFiles) -> None:
        """Bring into a copy what has changed meanwhile, and whether it may be searched."""
        taken = files.taken or 0
        if found := list(self._changes(name, taken)):
            tables = [pa.ipc.open_file(pa.py_buffer(content)).read_all() for content in found]
            files.take(tables, taken + len(found))
        if self.offered(name):
            files.loaded.touch()
        else:
            files.loaded.unlink(missing_ok=True)

    def _changes(self, name: str, after: int) -> Iterator[bytes]:
        many = 1
        while found := self._records.read([_change(name, number) for number in range(after + 1, after + 1 + many)]):
            yield from found
            after, many = after + len(found), _AT_ONCE

    def append(self, name: str, changed: pa.Table) -> None:
        """Add a change: rows of an overlay."""
        content = arrow_bytes(changed)
        # From the end that is there: behind a gap nobody would look. What a writer has aside does not count.
        there = [one for one in children(f"{self.url}/{name}/{_CHANGES}") if one.isdigit()]
        number = len(there) + 1
        while not self._put(_change(name, number), content):
            # Another writer was first; or is, says a bucket (409), and may yet fail: a gap would end what hosts follow.
            if self._records.read([_change(name, number)]):
                number += 1
            else:
                time.sleep(_PAUSE_SECONDS)

    def _put(self, change: str, content: bytes) -> bool:
        try:
            self._records.put(change, content)
        except ConflictError:
            return False
        return True

    def offer(self, name: str) -> None:
        """Let it be searched."""
        with suppress(ConflictError):
            self._records.put(f"{name}/{_OFFERED}", b"")

    def offered(self, name: str) -> bool:
        """Whether it may be searched."""
        return bool(self._records.read([f"{name}/{_OFFERED}"]))

    def withdraw(self, name: str) -> None:
        """It need not be searched any more."""
        delete(f"{self.url}/{name}/{_OFFERED}")

    def drop(self, name: str) -> None:
        """Remove it; nothing happens when there is none."""
        delete(f"{self.url}/{name}/{SCHEMA}")  # First: what is there in part is none.
        delete(f"{self.url}/{name}")


def _change(name: str, number: int) -> str:
    return f"{name}/{_CHANGES}/{number:08}"
