"""One `pagoda up` at a time in one home folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pagoda.errors import ConflictError


class HomeLock:
    """Held while the platform starts and, in the foreground, as long as it runs. The kernel lets go when we die."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; taking it twice is fine.

        Raises:
            ConflictError: Another process has it.
        """
        if self._descriptor is not None:
            return
        # Not inherited by the services, which would keep it.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode() or "unknown"
            os.close(descriptor)
            home = self._path.parent.parent
            raise ConflictError(
                f"another `pagoda up` (pid {holder}) starts or runs the platform in {home}; "
                "see `pagoda status`, stop it with `pagoda down`"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
