"""Which version a user's ID row is of, by the tables that lie on this host: towers say only that there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pagoda.client.explanation import IdRowExplained
from pagoda.embeddings.tables import TowerTables
from pagoda.errors import IntegrityError, NotHeldError
from pagoda.generations.manifest import Manifest


class IdRows:
    """The tables of one host."""

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is opened yet; None: no tables are here, as in the pods of a cluster whose tower is a server."""
        self._folder = folder

    def of(self, manifest: Manifest, user: int) -> IdRowExplained:
        """Where the row of a known user is from.

        Tables are mapped anew for each: who asks is one person, and what is mapped here would keep retired files.
        """
        if not manifest.segments:
            return {"source": "full", "versions": [manifest.full_version]}
        if self._folder is None:
            return {"source": "unseen", "versions": []}
        try:
            tables = TowerTables(self._folder, manifest.full_version).generation(manifest.id)
        except (NotHeldError, IntegrityError):
            return {"source": "unseen", "versions": []}
        ids = np.array([user], np.int64)
        for segment in tables.users.segments:
            if segment.find(ids)[1].all():
                own = {segment.checksum, *segment.description.originals}
                return {
                    "source": "incremental",
                    "versions": [one.version for one in manifest.segments if one.checksum in own],
                }
        if tables.users.base.find(ids)[1].all():
            return {"source": "full", "versions": [manifest.full_version]}
        return {"source": "none", "versions": []}
