"""Tables that were damaged on this host are no longer served, and are fetched again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pagoda.embeddings.tables import Inspection, TablesWriter
from pagoda.generations.manifest import Manifest

LOOK_SECONDS = 1.0
THOROUGH_SECONDS = 24 * 3600.0
"""How often all is read: what was written to is seen at once, and a disk forgets rarely."""
_log = logging.getLogger(__name__)


class Guard:
    """Looks at the tables in the background, and takes away what is damaged; the follower then brings it anew."""

    def __init__(self, folder: Path, tables: TablesWriter, monotonic: Callable[[], float]) -> None:
        self._inspection, self._tables, self._monotonic = Inspection(folder), tables, monotonic
        # Apart from the follower's steps: all files are read once a day, and a generation must not wait for that.
        self._thread = ThreadPoolExecutor(1, "inspection")
        self._look: Future[dict[Path, str]] | None = None
        self._next_look, self._next_thorough = 0.0, monotonic() + THOROUGH_SECONDS

    def watch(self, manifests: Sequence[Manifest]) -> bool:
        """Begin a look when it is time; when one is over, take away what it found.

        Returns:
            Whether anything was taken away.
        """
        gone = False
        if self._look and self._look.done():
            gone, self._look = self._discard(self._look.result()), None
        now = self._monotonic()
        if self._look is None and now >= self._next_look:
            thoroughly = now >= self._next_thorough
            if thoroughly:
                self._next_thorough = now + THOROUGH_SECONDS
            checksums = {manifest.full_version: manifest.base.checksum for manifest in manifests}
            self._look = self._thread.submit(self._inspection.look, checksums, thoroughly=thoroughly)
            self._next_look = now + LOOK_SECONDS
        return gone

    def close(self) -> None:
        """Let a look finish."""
        self._thread.shutdown()

    def _discard(self, damaged: dict[Path, str]) -> bool:
        unreadable = self._tables.discard_unreadable()
        for generation in unreadable:
            _log.error("the record of generation %s was damaged; it is made again", generation)
        for folder, problem in damaged.items():
            generations = self._tables.discard(folder)
            _log.error(
                "%s; it is taken away and fetched again, until then not serving: %s", problem, ", ".join(generations)
            )
        return bool(damaged or unreadable)
