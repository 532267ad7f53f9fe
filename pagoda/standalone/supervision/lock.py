"""Locks of a home folder: one `pagoda up` at a time, and one supervisor."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pagoda.errors import ConflictError


class HomeLock:
    """Held until it is let go of or handed on, or the process that holds it dies: the kernel sees to that."""

    def __init__(self, path: Path, holder: str) -> None:
        """A lock on the file `path`; `holder` says who has it when it is taken, with `{pid}` and `{home}`."""
        self._path, self._holder = path, holder
        self._descriptor: int | None = None

    def acquire(self) -> int:
        """Take the lock; taking it twice is fine. Returns its descriptor, which a child that inherits it holds too.

        Raises:
            ConflictError: Another process has it.
        """
        if self._descriptor is not None:
            return self._descriptor
        # Not inherited by the services, which would keep it.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 20).decode() or "unknown"
            os.close(descriptor)
            raise ConflictError(
                f"{self._holder.format(pid=pid, home=self._path.parent.parent)}; "
                "see `pagoda status`, stop it with `pagoda down`"
            ) from None
        self._descriptor = descriptor
        self.name_holder(os.getpid())
        return descriptor

    def name_holder(self, pid: int) -> None:
        """Note who holds the lock."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(pid).encode(), 0)

    def release(self) -> None:
        """Let go of the lock, if it is held; a child that inherited it goes on holding it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
