"""What the steps of an update make, each at most once, and where the steps after it find it.

On one machine that is a folder. On a cluster every step runs in a pod of its own, which shares nothing with the others
but the object storage: a step's files are uploaded under a name of their own, and a mark, put if absent and last, says
where they are and what they hold. So of two runs of one step one wins, and nobody reads half of an output.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import orjson

from pagoda.append_log.store import open_store
from pagoda.errors import ConflictError
from pagoda.storage.checksums import checksum_file
from pagoda.storage.copies import delete, fetch, local_path, upload
from pagoda.storage.inventory import take_inventory

Make = Callable[[Path], None]
"""Makes a folder that does not exist yet, all or nothing."""


class StepOutputs(Protocol):
    """The outputs of one update's steps, by the step's name."""

    def make(self, name: str, make: Make) -> Path:
        """The step's folder on this machine; made now if no run has made it yet."""

    def get(self, name: str) -> Path:
        """The folder of a step that is done.

        Raises:
            ConflictError: It is not done.
        """

    def done(self, name: str) -> bool:
        """Whether a run has made the step's folder."""

    def uri(self, name: str, file: str) -> str:
        """Where others read a file of a step that is done."""

    def checksum(self, name: str, file: str) -> str:
        """What a file of a step that is done holds."""


class LocalOutputs:
    """Outputs in a folder that all steps see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, name: str, make: Make) -> Path:
        """See `StepOutputs.make`."""
        folder = self._folder / name
        if not folder.exists():
            try:
                make(folder)
            except ConflictError:
                # Another run of the same update finished this step first; both made the same thing.
                if not folder.exists():
                    raise
        return folder

    def get(self, name: str) -> Path:
        """See `StepOutputs.get`."""
        if not (self._folder / name).exists():
            raise ConflictError(f"{self._folder / name} is missing; run the step {name!r} first")
        return self._folder / name

    def done(self, name: str) -> bool:
        """See `StepOutputs.done`."""
        return (self._folder / name).exists()

    def uri(self, name: str, file: str) -> str:
        """See `StepOutputs.uri`."""
        # Not `as_uri`: whoever reads it takes what follows the scheme as it stands, and a space there would be `%20`.
        return f"file://{(self._folder / name / file).resolve()}"

    def checksum(self, name: str, file: str) -> str:
        """See `StepOutputs.checksum`."""
        return checksum_file(self.get(name) / file)


class SharedOutputs:
    """Outputs in an object store, copied to a scratch folder of this machine."""

    def __init__(self, url: str, scratch: Path) -> None:
        self._url, self._scratch = url, scratch
        self._marks = open_store(url)

    def make(self, name: str, make: Make) -> Path:
        """See `StepOutputs.make`."""
        folder = self._scratch / name
        if self._mark(name) is None:
            if not folder.exists():
                make(folder)
            self._share(name, folder)
        return self.get(name)

    def get(self, name: str) -> Path:
        """See `StepOutputs.get`. What was fetched before is verified, and fetched again where it differs."""
        place, files = self._require(name)
        return fetch(f"{self._url}/{place}", files, self._scratch / name)

    def done(self, name: str) -> bool:
        """See `StepOutputs.done`."""
        return self._mark(name) is not None

    def uri(self, name: str, file: str) -> str:
        """See `StepOutputs.uri`."""
        return f"{self._url}/{self._require(name)[0]}/{file}"

    def checksum(self, name: str, file: str) -> str:
        """See `StepOutputs.checksum`."""
        return self._require(name)[1][file]

    def _share(self, name: str, folder: Path) -> None:
        place, files = f"{name}.{uuid.uuid4().hex}", take_inventory(folder)
        for file in files:
            upload(folder / file, f"{self._url}/{place}/{file}")
        try:
            self._marks.put(f"{name}.json", orjson.dumps({"place": place, "files": files}))
        except ConflictError:
            # A client library may repeat a write whose answer was lost; the second one then meets our own mark.
            mark = self._mark(name)
            if mark is None or mark[0] != place:
                # Another run was first; its output counts, and `get` replaces this one by it.
                delete(f"{self._url}/{place}")

    def _mark(self, name: str) -> tuple[str, dict[str, str]] | None:
        found = self._marks.read([f"{name}.json"])
        if not found:
            return None
        mark = orjson.loads(found[0])
        return mark["place"], mark["files"]

    def _require(self, name: str) -> tuple[str, dict[str, str]]:
        mark = self._mark(name)
        if mark is None:
            raise ConflictError(f"{self._url}/{name} is missing; run the step {name!r} first")
        return mark


def open_outputs(url: str, scratch: Path) -> StepOutputs:
    """The outputs at `url`: a folder of this machine, or an object store's, copied to `scratch`."""
    folder = local_path(url)
    return SharedOutputs(url, scratch) if folder is None else LocalOutputs(folder)
