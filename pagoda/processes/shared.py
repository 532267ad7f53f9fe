"""What processes share: values whose arrays each maps."""

from __future__ import annotations

import mmap
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

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
        """The value; its arrays cannot be written."""
        files = sorted((path for path in self.folder.iterdir() if path.name != _VALUE), key=lambda path: int(path.name))
        # What is unpickled is what this machine's own process wrote a moment ago, where nobody else can write.
        value: Value = pickle.loads((self.folder / _VALUE).read_bytes(), buffers=map(_mapped, files))  # noqa: S301
        return value


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        # An empty file cannot be mapped.
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
