"""Collections in a store, for hosts that share no file system: a folder by URL, mostly of a bucket.

    NAME/schema.arrow            the columns, and which build is the collection; written last, by whoever is first
    NAME/BUILD/index/…           a build's index, as in a collection's folder; never changed
    NAME/BUILD/offered           there while it may be searched
    NAME/BUILD/changes/00000001  item changes since it was built, in order: rows of overlays, by any number of writers
    NAME/BUILD/overlays/00000256 all changes up to that one, put together

Who searches it has a copy: brought once, file by file as its checksums say, and then followed change by change.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from pagoda.append_log.store import open_store
from pagoda.errors import ConflictError, IntegrityError, UnavailableError
from pagoda.index.base import METRIC, CollectionFacts
from pagoda.index.in_process.collection_files import (
    SCHEMA,
    CollectionFiles,
    arrow_bytes,
    build_in,
    description_in,
    last_of_each,
)
from pagoda.index.in_process.facts import dim_in, facts_of
from pagoda.index.in_process.index_folder import RECORD, parse_record, read_record
from pagoda.storage.atomic import build_folder, sync_tree
from pagoda.storage.copies import children, copy, delete, download
from pagoda.storage.inventory import verify

_OFFERED, _CHANGES, _OVERLAYS = "offered", "changes", "overlays"
_AT_ONCE = 32
TOGETHER = 256
"""Changes after which all are put together, for readers that begin."""
_PAUSE_SECONDS = 0.05


class CollectionStore:
    """The collections below one URL. Every call raises `UnavailableError` where the store does not answer."""

    def __init__(self, url: str) -> None:
        """Nothing is asked yet."""
        self.url = url.rstrip("/")
        self._records = open_store(self.url)
        self._ends: dict[str, int] = {}
        """The number of the last change that was put from here, by build."""

    def names(self) -> list[str]:
        """Names of all of which anything is there, sorted: also what a killed build or `drop` left, to be dropped."""
        return children(self.url)

    def find(self, name: str) -> pa.Schema | None:
        """The columns of a whole collection `name`, which say which build it is; None: there is none."""
        found = self._records.read([f"{name}/{SCHEMA}"])
        return pa.ipc.read_schema(pa.py_buffer(found[0])) if found else None

    def schema(self, name: str) -> pa.Schema:
        """The same.

        Raises:
            IntegrityError: There is none.
        """
        if (found := self.find(name)) is None:
            raise IntegrityError("the collection does not exist")
        return found

    def put(self, name: str, files: CollectionFiles) -> None:
        """Put a collection there that is indexed, and make what was put from a copy of it.

        Each build has a place of its own: of two at once, one becomes the collection, and nothing of the other. Of that
        one nothing remains in the store, and what it was put from is no copy.

        Raises:
            ConflictError: Another was first, of other vectors or with another index.
            UnavailableError: Another may be first: its record is being written.
        """
        build = uuid.uuid4().hex
        place, content = f"{name}/{build}", files.name_build(build)
        for file in (*sorted(read_record(files.index).files), RECORD):
            copy(str(files.index / file), f"{self.url}/{place}/index/{file}")
        if changed := len(overlay := files.overlay()):
            self._append(place, overlay)
        try:
            self._records.put(f"{name}/{SCHEMA}", content)
        except ConflictError as error:
            if (winner := self.find(name)) is None:  # As a bucket says while another writes it, who may yet fail.
                raise UnavailableError(f"{error}; run it again") from error
            if build_in(winner) != build:  # Else it was this one's first try, whose answer was lost.
                delete(f"{self.url}/{place}")
                if description_in(winner) != files.description:
                    raise ConflictError(
                        f"collection {name!r} at {self.url} was built by another meanwhile, and holds "
                        f"[{description_in(winner)}], this one [{files.description}]"
                    ) from error
                return
        files.take([], min(changed, 1))

    def bring(self, name: str, schema: pa.Schema, folder: Path, make_room: Callable[[], object]) -> None:
        """Make `folder` a copy, with what has changed since it was built.

        Args:
            name: Of the collection.
            schema: As `find` gave it: says which build.
            folder: Where to.
            make_room: Takes away what is there; called once the new one is whole.

        Raises:
            IntegrityError: A file is missing or damaged; what was in `folder` stays.
        """
        place = _place(name, schema)
        with build_folder(folder) as aside:
            files = CollectionFiles(aside)
            (aside / SCHEMA).write_bytes(schema.serialize())
            download(f"{self.url}/{place}/index/{RECORD}", files.index / RECORD)
            checksums = read_record(files.index).files
            for file in checksums:
                download(f"{self.url}/{place}/index/{file}", files.index / file)
            verify(files.index, checksums)
            files.begin(*self._changes(place, 0))
            self._mark(place, files)
            sync_tree(aside)  # Here, so that between the one and the other there is no more than a rename.
            make_room()

    def follow(self, name: str, files: CollectionFiles) -> None:
        """Bring into a copy what has changed meanwhile in its build, and whether that may be searched."""
        place, taken = _place(name, files.schema), files.taken or 0
        tables, end = self._changes(place, taken)
        if tables:
            files.take(tables, end)
        self._mark(place, files)

    def _mark(self, place: str, files: CollectionFiles) -> None:
        if self._records.read([f"{place}/{_OFFERED}"]):
            files.loaded.touch()
        else:
            files.loaded.unlink(missing_ok=True)

    def _changes(self, place: str, after: int) -> tuple[list[pa.Table], int]:
        """Those after one, in order, many of them put together where somebody has; and the number of the last."""
        found: list[bytes] = []
        many = 1
        while new := self._records.read([_change(place, number) for number in range(after + 1, after + 1 + many)]):
            found, after = [*found, *new], after + len(new)
            # All changes stay, so of one who begins here and finds an overlay replaced meanwhile nothing is missed.
            overlays = self._overlays(place) if len(new) == _AT_ONCE else []
            if overlays and int(overlays[-1]) > after and (one := self._records.read([_overlay(place, overlays[-1])])):
                found, after = one, int(overlays[-1])
            many = _AT_ONCE
        return [pa.ipc.open_file(pa.py_buffer(content)).read_all() for content in found], after

    def facts(self, name: str, schema: pa.Schema, copy: CollectionFiles | None) -> CollectionFacts:
        """What is known of the build that `schema` names, here and by a copy of it; see `Collections.facts`.

        Raises:
            IntegrityError: It is damaged.
        """
        place = _place(name, schema)
        url = f"{place}/index/{RECORD}"
        record = parse_record(b"".join(self._records.read([url])), f"{self.url}/{url}")
        changes = self._end(place)
        counted = facts_of(copy).rows if copy and copy.taken == changes else None
        return CollectionFacts(
            loaded=bool(self._records.read([f"{place}/{_OFFERED}"])),
            rows=counted if changes else record.rows,
            dim=dim_in(schema),
            metric=METRIC,
            kind=record.kind,
        )

    def append(self, name: str, schema: pa.Schema, changed: pa.Table) -> None:
        """Add a change, rows of an overlay, to the build that `schema` names."""
        self._append(_place(name, schema), changed)

    def _append(self, place: str, changed: pa.Table) -> None:
        content = arrow_bytes(changed)
        number = self._end(place) + 1
        while not self._put(_change(place, number), content):
            # Another writer was first; or is, says a bucket (409), and may yet fail: a gap would end what hosts follow.
            if self._records.read([_change(place, number)]):
                number += 1
            else:
                time.sleep(_PAUSE_SECONDS)
        self._ends[place] = number
        if number % TOGETHER == 0:  # Exactly one writer has that number; who is killed here leaves it to the next such.
            self._put_together(place)

    def _put_together(self, place: str) -> None:
        tables, end = self._changes(place, 0)
        self._put(_overlay(place, f"{end:08}"), arrow_bytes(last_of_each(tables)))
        for older in self._overlays(place)[:-1]:
            delete(f"{self.url}/{_overlay(place, older)}")

    def _overlays(self, place: str) -> list[str]:
        return self._numbered(f"{place}/{_OVERLAYS}")

    def _numbered(self, folder: str) -> list[str]:
        # What a writer has aside does not count.
        return [one for one in children(f"{self.url}/{folder}") if one.isdigit()]

    def _end(self, place: str) -> int:
        """How many changes there are, or nearly: behind a gap nobody would look."""
        # A bucket lists a thousand names at a time; of a day's changes that would take longer than they may.
        if (end := self._ends.get(place, 0)) and self._records.read([_change(place, end)]):
            return end
        return len(self._numbered(f"{place}/{_CHANGES}"))

    def _put(self, name: str, content: bytes) -> bool:
        try:
            self._records.put(name, content)
        except ConflictError:
            return False
        return True

    def offer(self, name: str) -> None:
        """Let it be searched."""
        self._put(f"{_place(name, self.schema(name))}/{_OFFERED}", b"")

    def offered(self, name: str) -> bool:
        """Whether it may be searched."""
        schema = self.find(name)
        return schema is not None and bool(self._records.read([f"{_place(name, schema)}/{_OFFERED}"]))

    def withdraw(self, name: str) -> None:
        """It need not be searched any more."""
        delete(f"{self.url}/{_place(name, self.schema(name))}/{_OFFERED}")

    def drop(self, name: str) -> None:
        """Remove it; nothing happens when there is none."""
        delete(f"{self.url}/{name}/{SCHEMA}")  # First: what is there in part is none.
        delete(f"{self.url}/{name}")


def _place(name: str, schema: pa.Schema) -> str:
    return f"{name}/{build_in(schema)}"


def _change(place: str, number: int) -> str:
    return f"{place}/{_CHANGES}/{number:08}"


def _overlay(place: str, number: str) -> str:
    return f"{place}/{_OVERLAYS}/{number}"
