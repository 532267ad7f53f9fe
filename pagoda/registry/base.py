"""The port of a registry: it keeps the files of versions, the release log says which there are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pagoda.generations.versions import VersionDraft, VersionRecord

CHAMPION = "champion"
"""Alias of the full version whose generation is stable. For humans, written last, never read by Pagoda."""


class Registry(Protocol):
    """Where versions are kept. The release log says which there are; a registry keeps their files."""

    def register(self, draft: VersionDraft) -> VersionRecord:
        """Store both artifacts and record the version; again with the same key, only return it.

        Raises:
            IntegrityError: `draft.folder` holds no file, or the base or parent is no registered version.
            UnavailableError: A server that is needed does not answer; running it again finishes the job.
        """

    def get(self, version: int) -> VersionRecord:
        """One version.

        Raises:
            RequestError: There is none of that number.
        """

    def list(self) -> list[VersionRecord]:
        """All versions, oldest first."""

    def fetch(self, version: int, into: Path, parts: tuple[str, ...] = ()) -> Path:
        """Copy the first artifact (or the named files and folders of it) to the folder `into` and verify it.

        `into` appears whole or not at all; when it exists already, it is verified and kept.

        Raises:
            IntegrityError: A file is missing or is not what was registered.
        """

    def fetch_state(self, version: int, into: Path) -> Path:
        """Copy the second artifact likewise."""

    def set_alias(self, name: str, version: int) -> None:
        """Point an alias at a version, for humans."""

    def delete_artifacts(self, version: int) -> None:
        """Delete both artifacts, for good; the version's lineage stays."""
