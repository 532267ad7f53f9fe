"""The user tower in the recall process itself: the same answers, and no server between."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pagoda.embeddings.tables import TowerTables
from pagoda.errors import IntegrityError, NotHeldError, PagodaError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.model.program_file import import_reader
from pagoda.storage.checksums import checksum_file
from serving.background import every
from serving.recall.servers.tower import UserVector
from serving.tower.archive import archive_name, unpack
from serving.tower.bodies import Instance, read_instances
from serving.tower.runtime import TowerRuntime

LOOK_SECONDS = 2.0
_BATCHES = (1, 32, 1, 32)
"""Computed before anybody is answered: a program's first calls take many times as long as later ones."""
_log = logging.getLogger(__name__)


def get_process_ready() -> None:
    """What a process does once, at its start, before it opens towers in the background of its requests.

    A request's batch is too small to be divided among threads. And what reading a program imports stays for good: here
    it comes before the server freezes what the collector need not look at.
    """
    torch.set_num_threads(1)
    import_reader()


class InProcessTower:
    """Full versions of the tower over the ID tables of this host.

    Which ones this host is to have is the follower's decision, as for a server; it brings their archives and tables. A
    version is opened when a generation of it is about to be warmed up, and let go of when the follower took it away.
    """

    def __init__(self, towers: Path, tables: Path) -> None:
        """Nothing is opened yet.

        Args:
            towers: Folder of the archives that the follower brings.
            tables: Folder of the ID tables.
        """
        self._towers, self._tables = towers, tables
        self._open: dict[int, TowerRuntime] = {}
        self._known: dict[int, Manifest] = {}
        """Of each full version that was opened, one generation's: to open it again where the host lost it."""
        self._opening = asyncio.Lock()

    async def open(self, manifest: Manifest) -> None:
        """See `TowerBackend.open`.

        Raises:
            NotHeldError: The follower has not brought all of it yet.
            IntegrityError: What lies here is not what the manifest says.
        """
        version = manifest.full_version
        async with self._opening:
            if version not in self._open:
                self._open[version] = await asyncio.to_thread(self._load, manifest)
                self._known[version] = manifest
                _log.info("full version %d of the user tower is open", version)

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVector]:
        """See `TowerClient.vectors`.

        Computed here and now: handing it to a thread takes longer than computing it.

        Raises:
            NotHeldError: This host does not hold the generation.
            RequestError: A raw value is wrong.
            UnavailableError: It cannot be computed, because its tables are damaged, say.
        """
        runtime = self._open.get(full_version)
        if runtime is None:
            raise NotHeldError(f"full version {full_version} of the user tower is not open here")
        try:
            answer = runtime.predict(read_instances(instances), generation)
        except (IntegrityError, OSError, RuntimeError) as error:
            raise UnavailableError(f"user tower {full_version}: {error}", part="user tower") from error
        return [
            UserVector(vector, known)
            for vector, known in zip(answer.vectors.tolist(), answer.known.tolist(), strict=True)
        ]

    async def follow(self) -> None:
        """Let go of what the follower took away, and open again what it brought back, until cancelled."""
        await every(LOOK_SECONDS, self.look)

    async def look(self) -> None:
        """Do that once."""
        for version, manifest in list(self._known.items()):
            here = (self._towers / archive_name(version)).exists()
            if not here and not TowerTables(self._tables, version).held():
                if self._open.pop(version, None):
                    _log.info("full version %d of the user tower is let go of", version)
            elif here and version not in self._open:
                try:
                    await self.open(manifest)
                except PagodaError as error:  # The follower may be about to finish; the next look tries again.
                    _log.warning("full version %d of the user tower is not open: %s", version, error)

    def _load(self, manifest: Manifest) -> TowerRuntime:
        version, expected = manifest.full_version, manifest.tower.checksum
        archive, tables = self._towers / archive_name(version), TowerTables(self._tables, version)
        tables.generation(manifest.id)  # Or all else would be done for nothing.
        with tempfile.TemporaryDirectory() as name:
            folder, own = Path(name), Path(name) / archive.name
            try:
                # What is checked is what is loaded, whoever writes to the folder meanwhile.
                shutil.copyfile(archive, own)
            except FileNotFoundError:
                raise NotHeldError(f"the follower has not brought {archive} yet") from None
            if (found := checksum_file(own, expected)) != expected:
                raise IntegrityError(f"{archive}: its checksum is {found}, the manifest says {expected}")
            unpack(own.read_bytes(), folder)
            runtime = TowerRuntime.load(folder, tables)
        user: int | str = 0 if manifest.spec.id_type == "int64" else "0"
        for users in _BATCHES:
            runtime.predict([Instance(user_id=user)] * users, manifest.id)
        return runtime
