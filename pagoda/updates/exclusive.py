"""One run of a kind at a time on one machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pagoda.errors import ConflictError


@contextmanager
def exclusive(home: Path, name: str) -> Iterator[None]:
    """Hold the lock `name` of the installation in `home`; the system releases it when the process dies.

    Raises:
        ConflictError: Another process holds it.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"another {name} run is at work on this machine (it holds {path})") from None
        yield
    finally:
        os.close(descriptor)
