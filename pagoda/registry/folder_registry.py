"""A registry without a server: version folders below one folder, numbered by the release log."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from pagoda.errors import UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionDraft, VersionRecord
from pagoda.registry.logged_registry import Contents, LoggedRegistry, Stored
from pagoda.storage.atomic import build_folder, write_atomic
from pagoda.storage.inventory import verify

_VERSION, _STATE = "version", "state"


class FolderRegistry(LoggedRegistry):
    """Versions in `folder`, one folder for each key, whose name says what it is."""

    def __init__(self, folder: Path, log: ReleaseLog) -> None:
        super().__init__(log)
        self._folder = folder.absolute()

    def set_alias(self, name: str, version: int) -> None:
        """See `Registry.set_alias`: a file that names the version's folder."""
        write_atomic(self._folder / name, f"{version} {self.get(version).uri}\n".encode())

    def _store(self, draft: VersionDraft, contents: Contents) -> Stored:
        # A name of its own for each attempt: a writer that lost never touches the winner's files.
        place = self._folder / f"{_prefix(draft.key)}{uuid.uuid4().hex[:8]}"
        try:
            with build_folder(place) as aside:
                shutil.copytree(draft.folder, aside / _VERSION)
                verify(aside / _VERSION, contents.files)
                if draft.state_folder:
                    shutil.copytree(draft.state_folder, aside / _STATE)
                    verify(aside / _STATE, contents.state_files)
        except OSError as error:
            raise UnavailableError(f"{place}: cannot store the version ({error})") from error
        return Stored(uri=str(place / _VERSION), state_uri=str(place / _STATE) if draft.state_folder else None)

    def _settle(self, record: VersionRecord) -> None:
        if record.run:
            return  # Registered on a server that was used before.
        kept = Path(record.uri).parent.name
        for place in self._folder.iterdir():
            if place.name != kept and place.name.lstrip(".").startswith(_prefix(record.key)):
                shutil.rmtree(place, ignore_errors=True)


def _prefix(key: str) -> str:
    return f"{key.replace(':', '_').replace('/', '_')}@"
