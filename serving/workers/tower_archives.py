"""Towers for the recall processes of this host, which compute by themselves: a folder of archives, each as its manifest
says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from serving.tower.archive import archive_name, archive_version, archives, place
from serving.tower.archive_trust import distrust, read_checksums

_Stamp = tuple[int, int]
_log = logging.getLogger(__name__)


class TowerArchives:
    """`serving.workers.tower_host.Models` where no server holds them."""

    def __init__(self, folder: Path, tables: Path) -> None:
        """What a killed follower left half written is removed.

        Args:
            folder: Where recall looks for archives.
            tables: The folder of the ID tables, where the follower says what archives must be.
        """
        self._folder, self._tables = folder, tables
        self._sound: dict[Path, _Stamp] = {}
        for leftover in folder.glob(".*.mar.*"):
            leftover.unlink(missing_ok=True)

    def ensure(self, full_version: int, archive: Path) -> None:
        """See `Models.ensure`."""
        place(archive, full_version, self._folder)

    def retire(self, full_version: int) -> None:
        """See `Models.retire`. A process that has it open keeps it until it sees that."""
        path = self._folder / archive_name(full_version)
        path.unlink(missing_ok=True)
        self._sound.pop(path, None)

    def held(self) -> list[int]:
        """See `Models.held`: the full versions whose archives are here, but for those that are not what a live manifest
        says."""
        checksums = read_checksums(self._tables)
        return [
            version
            for path in archives(self._folder)
            if (version := archive_version(path)) not in checksums or self._is_sound(path, checksums)
        ]

    def _is_sound(self, path: Path, checksums: Mapping[int, str]) -> bool:
        # What nobody wrote to is as it was: the kernel sets a file's ctime, and nobody can set that back.
        if (stamp := _stamp(path)) == self._sound.get(path):
            return True
        if problem := distrust(path, checksums):
            _log.error("%s is brought anew: %s", path, problem)
            return False
        self._sound[path] = stamp
        return True


def _stamp(path: Path) -> _Stamp:
    state = path.stat()
    return state.st_ino, state.st_ctime_ns
