"""What every registry shares: versions are what the release log says, files are where its records say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pagoda.append_log.records import Draft
from pagoda.embeddings.segment import SegmentDescription, read_description
from pagoda.errors import IntegrityError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import SEGMENT, VersionDraft, VersionRecord
from pagoda.storage.copies import delete, fetch
from pagoda.storage.inventory import checksum_of, select, take_inventory


@dataclass(frozen=True)
class Contents:
    """What a draft's folders hold."""

    files: dict[str, str]
    state_files: dict[str, str]
    segment: SegmentDescription | None

    @property
    def checksum(self) -> str:
        """Of the first artifact."""
        return checksum_of(self.files)

    @property
    def state_checksum(self) -> str:
        """Of the second artifact; that of nothing when there is none."""
        return checksum_of(self.state_files)


@dataclass(frozen=True)
class Stored:
    """Where a registry has put a draft's folders."""

    uri: str
    state_uri: str | None
    version: int | None = None
    """None: the next free number."""
    run: str = ""


class LoggedRegistry(ABC):
    """A registry whose truth is the release log; see `pagoda.registry.base.Registry` for the calls."""

    def __init__(self, log: ReleaseLog) -> None:
        self.log = log

    def register(self, draft: VersionDraft) -> VersionRecord:
        """See `Registry.register`. Killed anywhere and run again, it ends with one version."""
        known = self.log.state().by_key(draft.key)
        if known is None:
            contents = inspect(draft, self.log.state())
            try:
                known = self._record(draft, contents, self._store(draft, contents))
            except Exception:
                # Another writer of the same key may have finished and cleared away what this one was storing.
                known = self.log.state().by_key(draft.key)
                if known is None:
                    raise
        self._settle(known)
        return known

    def get(self, version: int) -> VersionRecord:
        """See `Registry.get`."""
        return self.log.state().version(version)

    def list(self) -> list[VersionRecord]:
        """See `Registry.list`."""
        return sorted(self.log.state().versions.values(), key=lambda record: record.version)

    def fetch(self, version: int, into: Path, parts: tuple[str, ...] = ()) -> Path:
        """See `Registry.fetch`."""
        record = self._unpruned(version)
        return fetch(record.uri, select(record.files, parts) if parts else record.files, into)

    def fetch_state(self, version: int, into: Path) -> Path:
        """See `Registry.fetch_state`."""
        record = self._unpruned(version)
        if record.state_uri is None:
            raise IntegrityError(f"version {version} was registered without a second artifact")
        return fetch(record.state_uri, record.state_files, into)

    def delete_artifacts(self, version: int) -> None:
        """See `Registry.delete_artifacts`."""
        record = self.get(version)
        for uri in (record.uri, record.state_uri):
            if uri:
                delete(uri)

    @abstractmethod
    def set_alias(self, name: str, version: int) -> None:
        """See `Registry.set_alias`."""

    @abstractmethod
    def _store(self, draft: VersionDraft, contents: Contents) -> Stored:
        """Put both folders where they stay; again, for the same key, must end in one of each."""

    @abstractmethod
    def _settle(self, record: VersionRecord) -> None:
        """Clear away what losers and killed writers of the same key left; safe to repeat."""

    def _record(self, draft: VersionDraft, contents: Contents, stored: Stored) -> VersionRecord:
        def decide(state: ReleaseState) -> Draft | None:
            if state.by_key(draft.key):
                return None
            number = stored.version or max(state.versions, default=0) + 1
            record = _version_record(draft, contents, stored, number)
            return Draft(kind="registered", body=record.model_dump(mode="json"))

        self.log.commit(decide)
        record = self.log.state().by_key(draft.key)
        if record is None:
            raise IntegrityError(f"release log: {draft.key} was recorded and is not there")
        return record

    def _unpruned(self, version: int) -> VersionRecord:
        record = self.get(version)
        if record.pruned:
            raise IntegrityError(f"version {version}: retention has deleted its artifacts; only its lineage is left")
        return record


def inspect(draft: VersionDraft, state: ReleaseState) -> Contents:
    """Read what a draft's folders hold, and check an incremental one's segment against the lineage it claims.

    Raises:
        IntegrityError: A folder is empty, base or parent are no such versions, or the segment is for others.
    """
    _check_lineage(draft, state)
    files = take_inventory(draft.folder)
    state_files = take_inventory(draft.state_folder) if draft.state_folder else {}
    segment = None
    if draft.update == "incremental":
        segment = read_description(draft.folder / SEGMENT)
        parent = state.versions[draft.parent].segment if draft.parent else None
        if (segment.base_version, segment.parent) != (draft.base, parent):
            raise IntegrityError(
                f"{draft.folder / SEGMENT} is for base {segment.base_version} after segment {segment.parent}, "
                f"but {draft.key} claims base {draft.base} after segment {parent}"
            )
    return Contents(files, state_files, segment)


def _check_lineage(draft: VersionDraft, state: ReleaseState) -> None:
    wanted = {"base": ("full", draft.base), "parent": (draft.update, draft.parent)}
    for role, (update, number) in wanted.items():
        if number is None:
            continue
        known = state.versions.get(number)
        if known is None or known.update != update:
            raise IntegrityError(f"{draft.key}: {role} {number} is no registered {update} version")
        if role == "parent" and known.base != draft.base:
            raise IntegrityError(f"{draft.key}: parent {number} lies over base {known.base}, not over {draft.base}")


def _version_record(draft: VersionDraft, contents: Contents, stored: Stored, number: int) -> VersionRecord:
    segment = contents.segment
    return VersionRecord(
        **draft.model_dump(exclude={"folder", "state_folder", "params"}),
        version=number,
        rows=segment.rows if segment else None,
        segment=segment.checksum if segment else None,
        uri=stored.uri,
        checksum=contents.checksum,
        files=contents.files,
        state_uri=stored.state_uri,
        state_files=contents.state_files,
        run=stored.run,
        registered_at=datetime.now(UTC),
    )
