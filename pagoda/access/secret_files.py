"""Files that hold a secret: made once, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def new_secret() -> str:
    """256 random bits in characters that need no quoting, in URLs or headers."""
    return secrets.token_urlsafe(32)


def kept_secret(path: Path) -> str:
    """The secret in `path`; made there, if there is none."""
    if not path.exists():
        write_secret(path, new_secret())
    return read_secret(path)


def read_secret(path: Path) -> str:
    """The secret in `path`; empty where there is none."""
    return path.read_text().strip() if path.exists() else ""


def write_secret(path: Path, content: str) -> None:
    """Put a file in place that was never readable by others, nor half written."""
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "w") as file:
        file.write(content + "\n")
    aside.replace(path)
