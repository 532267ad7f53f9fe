"""Reading the services' logs."""

from __future__ import annotations

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


def follow(path: Path) -> Iterator[str]:
    """What is appended to a log from now on, for ever; rotation is followed to the new file."""
    position = path.stat().st_size if path.exists() else 0
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position = 0
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                text = file.read(size - position)
            position += len(text)
            yield text.decode(errors="replace")
        else:
            time.sleep(_POLL_SECONDS)
