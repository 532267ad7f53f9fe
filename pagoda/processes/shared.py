"""What processes share: values whose arrays each maps."""

from __future__ import annotations

import mmap
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pagoda.errors import IntegrityError

Value = TypeVar("Value")
_VALUE = "value"


@dataclass(frozen=True)
class Shared(Generic[Value]):
    """A value in a folder, which processes open: its arrays are mapped, so that none has a copy of its own."""

    folder: Path

    @classmethod
    def write(cls, folder: Path, value: Value) -> Shared[Value]:
        """Leave it in a folder that exists and is this process's own; arrays that are not contiguous are copied."""
        arrays: list[pickle.PickleBuffer] = []
        (folder / _VALUE).write_bytes(pickle.dumps(value, protocol=5, buffer_callback=arrays.append))
        for number, array in enumerate(arrays):
            with array.raw() as content:
                (folder / str(number)).write_bytes(content)
        return cls(folder)

    def open(self) -> Value:
        """The value; its arrays cannot be written.

        Raises:
            IntegrityError: Another user wrote it.
        """
        files = sorted((path for path in self.folder.iterdir() if path.name != _VALUE), key=lambda path: int(path.name))
        value: Value = pickle.loads(_own(self.folder / _VALUE), buffers=map(_mapped, files))  # noqa: S301
        return value


def _own(path: Path) -> bytes:
    """What this user wrote, and nobody else: who may write beside the folder could put another in its place."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise IntegrityError(f"{path}: is another user's, and is not read; write where nobody else can write")
        return file.read()


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        # An empty file cannot be mapped.
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
