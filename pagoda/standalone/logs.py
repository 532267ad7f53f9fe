"""Reading the services' logs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

_TAIL_BYTES = 256 << 10
_POLL_SECONDS = 0.3


def last_lines(path: Path, lines: int = 15) -> str:
    """The last `lines` lines of a log; of a long one, at most those within its last 256 KiB."""
    if not path.exists():
        return "(there is no log)"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def size_of(path: Path) -> int:
    """Bytes in a log; 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def follow(path: Path, position: int) -> Iterator[str]:
    """What is in a log from byte `position` on, and all that is appended, for ever. A rotated log is read anew."""
    number = path.stat().st_ino if path.exists() else 0
    while True:
        if not path.exists():
            time.sleep(_POLL_SECONDS)
            continue
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if state.st_ino != number or state.st_size < position:
                number, position = state.st_ino, 0
            file.seek(position)
            text = file.read()
        position += len(text)
        if text:
            yield text.decode(errors="replace")
        else:
            time.sleep(_POLL_SECONDS)
