"""Finds installed tables that are no longer what was installed: a byte overwritten, a file cut short or exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables.layout import SIDES, TablesLayout, tables_checksum
from pagoda.errors import IntegrityError

_Stamps = frozenset[tuple[str, int, int, int]]


class Inspection:
    """Reads every part once, and again when one of its files has changed.

    Whether it has, the kernel knows: whoever writes to a file, or sets its times, changes its ctime, which nobody can
    set back. So a look costs a stat a file, and no lookup anything.
    """

    def __init__(self, folder: Path) -> None:
        self._layout = TablesLayout(folder)
        self._sound: dict[Path, _Stamps] = {}

    def look(self, checksums: Mapping[int, str], *, thoroughly: bool = False) -> dict[Path, str]:
        """The damaged parts, and what is wrong with them.

        Args:
            checksums: What the manifests say of full versions' tables.
            thoroughly: Read what has not changed as well: a disk can forget without being written to.
        """
        found = {}
        for folder in list(self._parts()):
            stamps = _stamps(folder)  # Those before reading: a change meanwhile is seen by the next look.
            if not thoroughly and self._sound.get(folder) == stamps:
                continue
            problem = self._problem(folder, checksums)
            if problem and folder.exists():  # else it was retired just now
                found[folder] = problem
            elif not problem:
                self._sound[folder] = stamps
        self._sound = {folder: stamps for folder, stamps in self._sound.items() if folder.exists()}
        return found

    def _parts(self) -> Iterator[Path]:
        for parent in (self._layout.full_versions, self._layout.segments):
            for path in parent.iterdir() if parent.exists() else ():
                if not path.name.startswith("."):
                    yield path

    def _problem(self, folder: Path, checksums: Mapping[int, str]) -> str | None:
        try:
            if folder.parent == self._layout.segments:
                actual = self._layout.segment(Segment.open(folder, verify=True).checksum).name
                expected: str | None = folder.name
            else:
                for side in SIDES:
                    IdTable.open(folder / side, verify=True)
                actual, expected = tables_checksum(folder), checksums.get(int(folder.name))
        except (IntegrityError, OSError) as error:
            return str(error)
        return None if expected in (None, actual) else f"{folder}: is {actual}, expected {expected}"


def _stamps(folder: Path) -> _Stamps:
    found = set()
    with suppress(FileNotFoundError):  # It was retired just now.
        for path in folder.rglob("*"):
            try:
                state = path.stat()
            except OSError:
                continue
            found.add((str(path), state.st_ino, state.st_size, state.st_ctime_ns))
    return frozenset(found)
