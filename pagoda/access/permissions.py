"""What a home holds is its user's alone: profiles, interactions, passwords."""

from __future__ import annotations

import os
import stat
from pathlib import Path

OTHERS = 0o077
"""Bits of a mode that are about anybody else; as umask, nobody else gets any."""


def close(folder: Path) -> list[Path]:
    """Take from everybody else what they may do in a folder and below, and say where; links are not followed."""
    opened = [folder] if _close(folder) else []
    for root, folders, files in os.walk(folder):
        opened += [path for name in (*folders, *files) if _close(path := Path(root, name))]
    return opened


def _close(path: Path) -> bool:
    try:
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode) or state.st_uid != os.getuid() or not state.st_mode & OTHERS:
            return False
        path.chmod(stat.S_IMODE(state.st_mode) & ~OTHERS)
    except FileNotFoundError:
        return False
    return True
