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
from pagoda.errors import (
    IntegrityError,
    NotHeldError,
    NotHereYetError,
    PagodaError,
    RequestError,
    UnavailableError,
)
from pagoda.generations.manifest import Manifest
from pagoda.storage.checksums import checksum_file
from serving.background import every
from serving.recall.servers.company import accompanied
from serving.recall.servers.tower import UserVectors
from serving.tower.archive import archive_name, unpack
from serving.tower.bodies import Instance, TowerAnswer, TowerRequest, read_instances
from serving.tower.program import load_small
from serving.tower.runtime import TowerRuntime
from serving.tracing import span
from serving.turns import Turns

LOOK_SECONDS = 2.0
_USERS = 32
_BATCHES = (1, 32, 1, 32)
"""Computed before anybody is answered: a program's first calls take many times as long as later ones."""
_Answer = list[UserVectors] | PagodaError
_log = logging.getLogger(__name__)


def get_process_ready() -> None:
    """What a process does once, at its start, before it opens towers in the background of its requests: a batch of
    theirs is too small to be divided among threads."""
    torch.set_num_threads(1)


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
        """Of full versions that were opened, the latest generation's: to open it again where the host lost it."""
        self._opening = asyncio.Lock()
        # Computed in the event loop: to hand a user to a thread and back takes as long as to compute the user, and
        # thirty-two take a millisecond.
        self._turns: Turns[tuple[int, str], Sequence[dict[str, Any]], list[UserVectors]] = Turns(
            self._compute, most=_USERS, size=len
        )

    async def open(self, manifest: Manifest) -> None:
        """See `TowerBackend.open`.

        Raises:
            NotHereYetError: The follower has not brought all of it yet.
            IntegrityError: What lies here is not what the manifest says.
        """
        version = manifest.full_version
        async with self._opening:
            if version not in self._open:
                self._open[version] = await asyncio.to_thread(self._load, manifest)
                _log.info("full version %d of the user tower is open", version)
            else:
                await asyncio.to_thread(self._require, manifest)
            # Older ones that were let go of served long ago.
            self._known = {one: known for one, known in self._known.items() if one > version or one in self._open}
            self._known[version] = manifest

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVectors]:
        """See `TowerClient.vectors`.

        Raises:
            NotHeldError: This host does not hold the generation.
            RequestError: A raw value is wrong.
            UnavailableError: It cannot be computed, because its tables are damaged, say.
        """
        key = full_version, generation
        with span("tower", generation=generation):
            if accompanied():
                return await self._turns.ask(key, instances)
            (answer,) = self._compute(key, [instances])
        if isinstance(answer, PagodaError):
            raise answer
        return answer

    def _compute(self, key: tuple[int, str], asked: Sequence[Sequence[dict[str, Any]]]) -> list[_Answer]:
        version, generation = key
        if (runtime := self._open.get(version)) is None:
            raise NotHeldError(f"full version {version} of the user tower is not open here")
        requests = [_request(instances, generation) for instances in asked]
        try:
            answers = iter(runtime.predict_batch([one for one in requests if isinstance(one, TowerRequest)]))
        except (IntegrityError, OSError, RuntimeError) as error:
            raise UnavailableError(f"user tower {version}: {error}", part="user tower") from error
        return [_vectors(next(answers)) if isinstance(one, TowerRequest) else one for one in requests]

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

    def _require(self, manifest: Manifest) -> TowerTables:
        """The tables of its full version, which hold the generation: the follower brings them last."""
        tables = TowerTables(self._tables, manifest.full_version)
        try:
            tables.generation(manifest.id)
        except NotHeldError as error:
            raise NotHereYetError(str(error)) from error
        return tables

    def _load(self, manifest: Manifest) -> TowerRuntime:
        version, expected = manifest.full_version, manifest.tower.checksum
        archive, tables = self._towers / archive_name(version), self._require(manifest)
        with tempfile.TemporaryDirectory() as name:
            folder, own = Path(name), Path(name) / archive.name
            try:
                # What is checked is what is loaded, whoever writes to the folder meanwhile.
                shutil.copyfile(archive, own)
            except FileNotFoundError:
                raise NotHereYetError(f"the follower has not brought {archive} yet") from None
            if (found := checksum_file(own, expected)) != expected:
                raise IntegrityError(f"{archive}: its checksum is {found}, the manifest says {expected}")
            unpack(own.read_bytes(), folder)
            runtime = TowerRuntime.load(folder, tables, load_small)
        user: int | str = 0 if manifest.spec.id_type == "int64" else "0"
        for users in _BATCHES:
            runtime.predict([Instance(user_id=user)] * users, manifest.id)
        return runtime


def _request(instances: Sequence[dict[str, Any]], generation: str) -> TowerRequest | RequestError:
    try:
        return TowerRequest(read_instances(instances), generation)
    except RequestError as error:
        return error


def _vectors(answer: TowerAnswer | PagodaError) -> _Answer:
    if isinstance(answer, IntegrityError):
        return UnavailableError(f"user tower: {answer}", part="user tower")
    if isinstance(answer, PagodaError):
        return answer
    known, vectors = answer.known.tolist(), answer.vectors.tolist()
    each = map(tuple, vectors) if answer.interests > 1 else ((vector,) for vector in vectors)
    return [UserVectors(*one) for one in zip(each, known, strict=True)]
