"""Keeping the item log short: old records become a snapshot, and go when nobody can be reading them any more."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta

from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.snapshots import FOLDER, Fold
from pagoda.storage.copies import children, delete

WORTH = 1_000
"""Records that a snapshot stands for beside those of the one before it, at least."""
_NAME = re.compile(r"(\d{8,})(-\d{5})?\.json")
_log = logging.getLogger(__name__)


class ItemCompaction:
    """Compacts one log. Killed anywhere, the next run goes on."""

    def __init__(self, url: str, keep: timedelta, worth: int = WORTH, key: str = "") -> None:
        """Nothing is read yet.

        Args:
            url: Where the log is.
            keep: How long records stay as they are, to be undone and counted.
            worth: For tests.
            key: Of the installation, which signs records; empty: it has none.
        """
        self._url, self._keep, self._worth, self._key = url.rstrip("/"), keep, worth, key

    def step(self, now: datetime) -> int:
        """Make a snapshot if there is enough to it; returns the newest one's number.

        The records that it stands for stay until the next one: who began to read from the snapshot before still finds
        them.
        """
        log, fold = ItemLog(self._url, key=self._key), Fold()
        numbers = log.snapshots.numbers()
        newest = numbers[-1] if numbers else 0
        if not self._is_old(log, newest + self._worth, now):
            return newest
        last = newest
        for record in log.records():
            if record.at > now - self._keep:
                break
            fold.take(record)
            last = record.number
        log.snapshots.write(fold.record())
        self._forget(before=newest)
        _log.info("item log: records up to %d are in a snapshot; those up to %d are deleted", last, newest)
        return last

    def _is_old(self, log: ItemLog, number: int, now: datetime) -> bool:
        """Whether there is a record of that number, and it may go."""
        record = log.read(number)
        return record is not None and record.at <= now - self._keep

    def _forget(self, before: int) -> None:
        """Delete what the snapshot `before` stands for, and what was there before that snapshot."""
        for name in children(self._url):
            if (found := _NAME.fullmatch(name)) and int(found[1]) <= before:
                delete(f"{self._url}/{name}")
        for name in children(f"{self._url}/{FOLDER}"):
            if (found := _NAME.fullmatch(name)) and int(found[1]) < before:
                delete(f"{self._url}/{FOLDER}/{name}")
