"""The key of an installation, which signs the records of its logs."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pagoda.generations.release_log import ReleaseLog
from pagoda.settings import SIGNING_KEY_FILE, load_settings

_PRIVATE = 0o600


def ensure_signing_key(home: Path) -> None:
    """Make the key where the log is in `home` and empty; one with records goes on without (`pagoda sign-log`)."""
    home.mkdir(parents=True, exist_ok=True)
    settings, path = load_settings(home), home / SIGNING_KEY_FILE
    if settings.signing_key or settings.registry.log or ReleaseLog(settings.log_url).state().head:
        return
    make_signing_key(path)


def make_signing_key(path: Path) -> None:
    """Write a new key, for its owner alone; one that is there stays."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secrets.token_hex(32)}\n")
