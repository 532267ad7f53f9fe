"""The full versions that a store of archives holds, loaded as they come and let go as they leave.

No request loads anything: what lies in the store and is what a manifest says, by `archives.json`, is loaded, and no
code of an archive runs, for all that is taken of it are the program and the encoder.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pagoda.embeddings.tables import TowerTables
from pagoda.errors import IntegrityError, NotHeldError, PagodaError
from serving.tower.archive import archive_version, archives, unpack
from serving.tower.archive_trust import distrust, read_checksums
from serving.tower.kserve.metrics import VERSIONS
from serving.tower.ready import newest
from serving.tower.replies import Replies
from serving.tower.runtime import TowerRuntime

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class LoadedVersion:
    """A full version that answers."""

    replies: Replies
    tables: TowerTables
    stamp: _Stamp
    """Of its archive's file, which is another one when something was put in its place."""


class LoadedVersions:
    """The full versions of one store."""

    def __init__(self, store: Path, tables: Path) -> None:
        """Hold nothing yet.

        Args:
            store: Folder of archives.
            tables: Folder of the ID tables, where the follower says what the archives must be.
        """
        self._store, self._tables = store, tables
        self._loaded: Mapping[int, LoadedVersion] = {}
        self._refused: dict[int, tuple[_Stamp, str | None]] = {}
        self._told_of: dict[int, str] = {}

    def step(self) -> None:
        """Load what has come, and let go of what has left. Meanwhile the others answer."""
        found = {archive_version(path): path for path in archives(self._store)}
        if gone := self._loaded.keys() - found.keys():
            self._hold({version: one for version, one in self._loaded.items() if version not in gone})
            _log.info("let go of full version %s", ", ".join(map(str, sorted(gone))))
        checksums = read_checksums(self._tables)
        for version, archive in found.items():
            try:
                self._look_at(version, archive, checksums)
            except FileNotFoundError:  # It left just now.
                continue
            except OSError as error:  # A full disk, say: none of the others' trouble, and the next look tries again.
                self._say_once(version, f"{archive} is not loaded: {error}")

    def held(self) -> list[int]:
        """The full versions that answer."""
        return sorted(self._loaded)

    def of(self, version: int) -> LoadedVersion:
        """A full version.

        Raises:
            NotHeldError: It is not loaded.
        """
        loaded = self._loaded.get(version)
        if loaded is None:
            raise NotHeldError(f"full version {version} is not held here; {self._told()}")
        return loaded

    def of_generation(self, generation: str | None) -> int:
        """The full version of a generation, of the current one where none is named.

        Raises:
            NotHeldError: It is not held here.
            RequestError: It cannot be the name of one.
        """
        missing = NotHeldError(f"generation {generation or 'current'} is not held here; {self._told()}")
        for version, one in self._loaded.items():
            try:
                one.tables.generation(generation or one.tables.current())
            except NotHeldError as error:
                missing = error
            else:
                return version
        raise missing

    def why_not_ready(self) -> str | None:
        """What keeps this host from answering for the generation that it is here for, or None.

        That is the current one where its archive is in the store, and else the newest of the newest archive: a pod that
        a platform gave a canary's archive is ready for the canary.
        """
        found = [archive_version(path) for path in archives(self._store)]
        if not found:
            return f"there is no model archive in {self._store}"
        tables = TowerTables(self._tables, 0)
        try:
            current = tables.current()
        except PagodaError:
            current = ""
        wanted = next((version for version in found if newest([current], version)), max(found))
        name = current if newest([current], wanted) else newest(_names(self._tables), wanted)
        if name is None:
            return f"no generation of version {wanted} is in {self._tables}"
        try:
            self.of(wanted).tables.generation(name)
        except PagodaError as error:
            return f"generation {name}: {error}"
        return None

    def _look_at(self, version: int, archive: Path, checksums: Mapping[int, str]) -> None:
        stamp = _stamp(archive)
        loaded, seen = self._loaded.get(version), (stamp, checksums.get(version))
        if (loaded and loaded.stamp == stamp) or self._refused.get(version) == seen:
            return
        try:
            one = self._load(version, archive, stamp, checksums)
        except OSError:
            raise
        except Exception as error:
            self._refused[version] = seen
            if not isinstance(error, IntegrityError):  # Torch's, for a program that it cannot run.
                _log.exception("%s is not loaded", archive)
                return
            # Before the follower has read any manifest, that is how every start begins.
            _log.log(logging.ERROR if version in checksums else logging.INFO, "%s is not loaded: %s", archive, error)
            return
        self._refused.pop(version, None)
        self._told_of.pop(version, None)
        self._hold({**self._loaded, version: one})
        _log.info("full version %d is held", version)

    def _load(self, version: int, archive: Path, stamp: _Stamp, checksums: Mapping[int, str]) -> LoadedVersion:
        with tempfile.TemporaryDirectory() as folder:
            # Of a copy that nobody else writes to: what is checked is what is loaded.
            copy = Path(folder) / archive.name
            shutil.copyfile(archive, copy)
            if problem := distrust(copy, checksums):
                raise IntegrityError(problem)
            unpack(copy.read_bytes(), Path(folder))
            tables = TowerTables(self._tables, version)
            return LoadedVersion(Replies(TowerRuntime.load(Path(folder), tables), f"{version}.0"), tables, stamp)

    def _say_once(self, version: int, problem: str) -> None:
        if self._told_of.get(version) != problem:
            _log.warning("%s", problem)
        self._told_of[version] = problem

    def _hold(self, loaded: Mapping[int, LoadedVersion]) -> None:
        self._loaded = dict(sorted(loaded.items(), reverse=True))
        VERSIONS.set(len(loaded))

    def _told(self) -> str:
        return f"held are {', '.join(map(str, self.held())) or 'none'}"


def _names(tables: Path) -> list[str]:
    return [path.stem for path in (tables / "generations").glob("*.json")]


def _stamp(path: Path) -> _Stamp:
    state = path.stat()
    return state.st_ino, state.st_ctime_ns, state.st_size
