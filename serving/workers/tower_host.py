"""Which full versions the tower's server, or recall's process, on this host holds, as the follower sees it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pagoda.errors import IntegrityError, PagodaError
from pagoda.generations.manifest import Artifact
from pagoda.storage.checksums import checksum_file
from pagoda.storage.copies import download, local_path

_LOOK_SECONDS = 10.0


class Models(Protocol):
    """The calls of `serving.tower.torchserve_models.TowerModels`, which `serving.workers.tower_archives` has, too."""

    def ensure(self, full_version: int, archive: Path) -> None:
        """Have a full version served, from its archive on this host."""

    def retire(self, full_version: int) -> None:
        """Stop serving a full version."""

    def held(self) -> list[int]:
        """The full versions that have a ready worker."""


class TowerHost(Protocol):
    """What the follower asks for."""

    def ensure(self, full_version: int, archive: Artifact) -> None:
        """Have a full version served; at once when it is.

        Raises:
            IntegrityError: The archive is missing or damaged.
            UnavailableError: The server does not answer, or not in time.
        """

    def holds(self, full_version: int) -> bool:
        """Whether `ensure` would have nothing to do, as far as is known; asks nobody."""

    def keep(self, full_versions: set[int]) -> None:
        """Stop serving all others."""

    def repair(self) -> None:
        """Bring back what the server has lost, because it was started anew, say.

        Raises:
            IntegrityError: An archive is missing or damaged; all else was brought back.
            UnavailableError: The server does not answer, or not in time.
        """


class NoTowers:
    """Where a platform brings the models: each of its pods serves one full version."""

    def ensure(self, full_version: int, archive: Artifact) -> None:
        """See `TowerHost.ensure`."""

    def holds(self, full_version: int) -> bool:  # noqa: ARG002
        """See `TowerHost.holds`."""
        return True

    def keep(self, full_versions: set[int]) -> None:
        """See `TowerHost.keep`."""

    def repair(self) -> None:
        """See `TowerHost.repair`."""


class LocalTowers:
    """The versions of a server on this host."""

    def __init__(self, models: Models, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._models, self._monotonic = models, monotonic
        self._wanted: dict[int, Artifact] = {}
        self._held: set[int] | None = None
        self._next_look = 0.0

    def ensure(self, full_version: int, archive: Artifact) -> None:
        """See `TowerHost.ensure`."""
        held = self._look() if self._held is None else self._held
        if full_version not in held:
            self._bring(full_version, archive)
            held.add(full_version)
        self._wanted[full_version] = archive  # Last: what could not be brought, whoever asked asks for again.

    def holds(self, full_version: int) -> bool:
        """See `TowerHost.holds`."""
        return full_version in self._wanted and full_version in (self._held or ())

    def keep(self, full_versions: set[int]) -> None:
        """See `TowerHost.keep`."""
        held = self._look() if self._held is None else self._held
        # First: of what is on its way out, nobody may be told that it is held.
        self._wanted = {version: archive for version, archive in self._wanted.items() if version in full_versions}
        for version in sorted(held - full_versions):
            self._models.retire(version)
            held.discard(version)

    def repair(self) -> None:
        """See `TowerHost.repair`. It looks every ten seconds."""
        if self._monotonic() < self._next_look:
            return
        held = self._look()
        failures: list[PagodaError] = []
        for version, archive in self._wanted.items():
            if version not in held:
                try:
                    self._bring(version, archive)
                except PagodaError as error:  # One version's trouble keeps no other from coming back.
                    failures.append(error)
                else:
                    held.add(version)
        if failures:
            raise failures[0]

    def _look(self) -> set[int]:
        self._held = set(self._models.held())
        self._next_look = self._monotonic() + _LOOK_SECONDS
        return self._held

    def _bring(self, version: int, archive: Artifact) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = local_path(archive.uri)
            if path is None:
                path = Path(folder) / archive.uri.rsplit("/", 1)[-1]
                download(archive.uri, path)
            if not path.is_file():
                raise IntegrityError(f"{archive.uri} is missing")
            if (found := checksum_file(path, archive.checksum)) != archive.checksum:
                raise IntegrityError(f"{archive.uri} is damaged: its checksum is {found}, not {archive.checksum}")
            self._models.ensure(version, path)
