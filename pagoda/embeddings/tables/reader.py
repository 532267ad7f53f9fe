"""The reading side of the tables folder: any number of processes, no locks, several generations open at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from pydantic import ValidationError

from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.segment_chain import check_chain
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables.layout import CurrentRecord, GenerationRecord, TablesLayout, read_record
from pagoda.errors import IntegrityError, NotHeldError, explain

IDLE_SECONDS = 60.0
_Stamp = tuple[int, int] | None
_Part = TypeVar("_Part", IdTable, Segment)


@dataclass(frozen=True)
class OpenGeneration:
    """One generation's tables. It never changes, and stays readable while someone holds it, even once retired."""

    generation: str
    full_version: int
    users: Overlay
    items: IdTable
    folder: Path
    """The full version's folder, with `encoder.json`."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A generation that is open, with its record, and the stamp of that: one that was put anew is of other files."""

    path: str
    stamp: _Stamp
    tables: OpenGeneration


class TowerTables:
    """The generations of one full version that this host holds, opened when asked for, and let go of when idle."""

    def __init__(
        self,
        folder: Path,
        full_version: int,
        *,
        idle_seconds: float = IDLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the tables in `folder`; nothing is opened yet.

        Args:
            folder: The tables folder of this host.
            full_version: Whose generations.
            idle_seconds: How long a generation stays open after it was last asked for. What a publish replaced would
                otherwise count beside it, in this process's memory, for as long as a rollback may want it.
            monotonic: A clock.
        """
        self._layout, self._full_version = TablesLayout(folder), full_version
        self._records = str(self._layout.generations)
        self._idle_seconds, self._monotonic = idle_seconds, monotonic
        self._open: dict[str, _Open] = {}
        self._asked: dict[str, float] = {}
        self._next_look = 0.0
        # Parts are shared by the generations that need them, and unmapped with the last of these.
        self._tables: WeakValueDictionary[tuple[Path, _Stamp], IdTable] = WeakValueDictionary()
        self._segments: WeakValueDictionary[tuple[Path, _Stamp], Segment] = WeakValueDictionary()
        self._seen = 0
        self._current = (b"", "")
        self._lock = threading.Lock()

    def generation(self, generation: str) -> OpenGeneration:
        """Return a generation's tables.

        Raises:
            NotHeldError: It has no record here, or belongs to another full version.
            IntegrityError: Its files are damaged.
        """
        now = self._monotonic()
        self._let_go(now)
        # A path takes longer to put together than to ask for; that of one that is open has been found safe.
        held = self._open.get(generation)
        if held and held.stamp == _stamp(held.path):
            self._asked[generation] = now
            return held.tables
        path = self._layout.generation(generation)
        with self._lock:
            self._open.pop(generation, None)
            stamp = _stamp(path)
            opened = self._open_generation(read_record(path), path)
            self._open[generation], self._asked[generation] = _Open(str(path), stamp, opened), now
        return opened

    def current(self) -> str:
        """Return the generation that answers a request which names none.

        Raises:
            NotHeldError: None was made current yet.
            IntegrityError: The record is damaged.
        """
        path = self._layout.current
        try:
            # Its bytes, not its time stamp: two publishes within a tick of the file system's clock would look alike.
            content = path.read_bytes()
            if content != self._current[0]:
                self._current = content, CurrentRecord.model_validate_json(content).generation
        except FileNotFoundError:
            raise NotHeldError(f"no generation is current yet ({path} is missing)") from None
        except ValidationError as error:
            raise IntegrityError(explain(error, str(path))) from error
        return self._current[1]

    def held(self) -> list[str]:
        """Names of this full version's generations that have a record here."""
        return [record.generation for record in self._layout.records() if record.full_version == self._full_version]

    def _let_go(self, now: float) -> None:
        """Drop generations whose record is gone, whenever the records' folder has changed, and sometimes idle ones."""
        try:
            changed = os.stat(self._records).st_mtime_ns  # noqa: PTH116 - a path of pathlib is slower than the call.
        except FileNotFoundError:
            return
        if changed == self._seen and now < self._next_look:
            return
        with self._lock:
            for generation in list(self._open):
                idle = self._asked[generation] < now - self._idle_seconds
                if idle or not self._layout.generation(generation).exists():
                    del self._open[generation], self._asked[generation]
            self._seen, self._next_look = changed, now + self._idle_seconds

    def _open_generation(self, record: GenerationRecord, path: Path) -> OpenGeneration:
        if record.full_version != self._full_version:
            raise NotHeldError(
                f"generation {record.generation} is of full version {record.full_version}; this is {self._full_version}"
            )
        try:
            return self._map(record)
        except IntegrityError:
            # Files are removed after the record: were they taken away just now, the record is gone as well.
            if not path.exists():
                raise NotHeldError(f"generation {record.generation} was retired") from None
            raise

    def _map(self, record: GenerationRecord) -> OpenGeneration:
        folder = self._layout.full(record.full_version)
        users = _shared(self._tables, folder / "users", IdTable.open)
        items = _shared(self._tables, folder / "items", IdTable.open)
        segments = [_shared(self._segments, self._layout.segment(name), Segment.open) for name in record.opens]
        if users.checksum != record.base_checksum:
            raise IntegrityError(f"{users.folder}: is {users.checksum}, the record needs {record.base_checksum}")
        check_chain(record.full_version, users.checksum, users.dim, [segment.description for segment in segments])
        return OpenGeneration(record.generation, record.full_version, Overlay(users, segments), items, folder)


def _shared(
    cache: WeakValueDictionary[tuple[Path, _Stamp], _Part], folder: Path, opener: Callable[[Path], _Part]
) -> _Part:
    # A file that is mapped keeps its number, so one that was fetched again is another one.
    key = folder, _stamp(folder / "rows.npy")
    part = cache.get(key)
    if part is None:
        cache[key] = part = opener(folder)
    return part


def _stamp(path: Path | str) -> _Stamp:
    """Which file lies at `path`; None where none does."""
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return state.st_ino, state.st_ctime_ns
