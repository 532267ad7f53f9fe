"""Saying what a client does wrong, once: a client must not fill the log either."""

from __future__ import annotations

import logging
import time

PAUSE_SECONDS = 60.0
_MOST = 1024


class Complaints:
    """Warnings by client and reason, each once a minute with what it stands for."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[tuple[str, str], float] = {}
        self._further: dict[tuple[str, str], int] = {}

    def say(self, client: str, reason: str) -> None:
        """Say it, unless it was said within the last minute."""
        key, now = (client, reason), time.monotonic()
        if now - self._said.get(key, -PAUSE_SECONDS) < PAUSE_SECONDS:
            self._further[key] = self._further.get(key, 0) + 1
            return
        if len(self._said) >= _MOST:
            self._said.clear()
        further = self._further.pop(key, 0)
        self._said[key] = now
        self._log.warning("client %s: %s%s", client or "?", reason, f" ({further} more before)" if further else "")
