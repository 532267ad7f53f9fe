"""Item vectors beside the collections of generations that serve: mapped, and followed as items change."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary, WeakValueDictionary

from pagoda.errors import GateError, PagodaError, UnavailableError
from pagoda.generations.manifest import Manifest, OriginalVectors, StoredVectors
from pagoda.item_vectors.changed_columns import VECTORS, ChangedColumns
from pagoda.item_vectors.reduction import REDUCTION_FILE, Reduction
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById
from pagoda.storage.copies import local_path, size, verified
from serving.background import every

MOST_BYTES = 1 << 30
"""Of a copy, two of which there may be during a rollout; the chart's volume for them has room for that."""
_LATEST = 3
"""Collections that stay although no generation of theirs is in an arm: one that comes back reads nothing again."""
_POLL_SECONDS = 0.5
logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Held:
    vectors: VectorsById
    changed: ChangedColumns
    number: int = 0
    """Of the newest file of changes that is in memory."""

    def look(self) -> None:
        """Take in what has changed.

        Raises:
            UnavailableError: The store does not answer.
            IntegrityError: The file is damaged.
        """
        if (newest := self.changed.newest()) > self.number and (found := self.changed.read(newest)):
            ids, columns = found
            self.vectors.change(ids, columns[VECTORS])
            self.number = newest


class HeldVectors:
    """Vectors of one kind, by collection."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._of: WeakKeyDictionary[object, _Held] = WeakKeyDictionary()
        """As long as whoever answers by them is there, so that nothing takes them from one that serves."""
        self._latest: deque[_Held] = deque(maxlen=_LATEST)
        self._held: WeakValueDictionary[str, _Held] = WeakValueDictionary()
        # Generations that are warmed at once may have one collection, whose vectors are copied and mapped once.
        self._opening = asyncio.Lock()

    def of(self, collection: str) -> VectorsById | None:
        """Those of a collection; None: its generation was made without."""
        held = self._held.get(collection)
        return held.vectors if held else None

    async def open(self, collection: str, files: StoredVectors, live: object) -> None:
        """Map a generation's, with all changes so far, before it answers anybody.

        Args:
            collection: Of the generation.
            files: Its vectors.
            live: What answers by it; they are held as long as that is there.

        Raises:
            UnavailableError: They cannot be read now, or a copy of them would be too large.
            IntegrityError: They are damaged.
        """
        async with self._opening:
            if (held := self._held.get(collection)) is None:
                held = await asyncio.to_thread(_opened, files)
                self._latest.append(held)
            self._of[live] = self._held[collection] = held

    async def follow(self) -> None:
        """Follow item changes until cancelled."""
        await every(_POLL_SECONDS, self._look)

    async def _look(self) -> None:
        for collection, held in list(self._held.items()):
            try:
                await asyncio.to_thread(held.look)
            except PagodaError as error:
                logger.warning("changes of %s: %s", collection, error)


async def open_vectors(manifest: Manifest, live: object, originals: HeldVectors | None, second: HeldVectors) -> None:
    """Map all that lies beside a generation's collection, before it answers anybody.

    Args:
        manifest: Of the generation.
        live: What answers by it.
        originals: Holds original vectors; None: nothing is scored again by them.
        second: Holds those of the second members of cascades.

    Raises:
        UnavailableError: They cannot be read now, or a copy of them would be too large.
        IntegrityError: They are damaged.
        GateError: The collection holds fewer numbers than vectors have, and nothing is scored again.
    """
    if originals is None:
        _require_whole(manifest)
    elif manifest.originals is None:
        logger.warning(
            "%s was made without original vectors and answers with the scores of codes; the next full update has them",
            manifest.id,
        )
    else:
        await originals.open(manifest.collection, manifest.originals, live)
    if manifest.cascade is not None:
        await second.open(manifest.collection, manifest.cascade, live)


def _require_whole(manifest: Manifest) -> None:
    if manifest.originals and manifest.originals.reduction:
        raise GateError(
            f"generation {manifest.id}: its collection holds {manifest.dim} numbers of a vector, and index.dim is not "
            "set: set it, and index.refine, until a full update has built and released one that holds all"
        )


def _opened(files: StoredVectors) -> _Held:
    maps = files.reduction if isinstance(files, OriginalVectors) else None
    every = (files.ids, files.vectors, *([maps] if maps else []))
    if (copied := sum(size(one.uri) for one in every if local_path(one.uri) is None)) > MOST_BYTES:
        raise UnavailableError(f"{files.vectors.uri}: {copied:,} bytes; {MOST_BYTES:,} at most are copied here")
    with TemporaryDirectory(prefix="pagoda-vectors-") as folder:
        ids = verified(files.ids.uri, files.ids.checksum, Path(folder, IDS_FILE))
        vectors = verified(files.vectors.uri, files.vectors.checksum, Path(folder, VECTORS_FILE))
        reduction = None
        if maps is not None:
            reduction = Reduction.read(verified(maps.uri, maps.checksum, Path(folder, REDUCTION_FILE)))
        held = _Held(VectorsById(ids, vectors, reduction), ChangedColumns(files.vectors.uri))
    held.look()
    return held
