"""Where the embedded platform keeps its files: everything below the home folder, but for sockets."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import xxhash

from pagoda.errors import ConfigError

_PRIVATE = 0o700


@dataclass(frozen=True)
class Layout:
    """Folders of one installation."""

    home: Path

    @property
    def run(self) -> Path:
        """What describes the running platform; made anew at each start."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """One log a service."""
        return self.home / "logs"

    def log(self, service: str) -> Path:
        """The log of one service: what it writes to stdout and stderr."""
        return self.logs / f"{service}.log"

    def data(self, service: str) -> Path:
        """The state of one service."""
        return self.home / service

    def secret(self, service: str) -> Path:
        """The file with what opens one service."""
        return self.home / "secrets" / service

    @property
    def sockets(self) -> Path:
        """Folder for Unix sockets while the platform runs: short, as their paths may have 107 bytes, and private."""
        name = xxhash.xxh3_64_hexdigest(str(self.home).encode())[:12]
        return Path(tempfile.gettempdir()) / f"pagoda-{os.getuid()}-{name}"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            ConfigError: The sockets' folder belongs to another user.
        """
        for folder in (self.run, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.sockets.mkdir(mode=_PRIVATE, exist_ok=True)
        state = self.sockets.lstat()
        if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) != _PRIVATE or not stat.S_ISDIR(state.st_mode):
            raise ConfigError(f"{self.sockets} belongs to another user or is open to others; remove it or set TMPDIR")
