"""The item log: every change of an item since the beginning, in one order (invariant 2).

What it says of an item stands until it says otherwise: an item that was removed stays away from every collection, also
from those built later, and the last features given are those of all later updates.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from pagoda.append_log.records import record_name
from pagoda.append_log.signing import open_signed
from pagoda.errors import ConflictError
from pagoda.generations.release_log import open_log
from pagoda.item_changes.records import ItemChange, ItemRecord, OffsetRange, parse_item_record
from pagoda.item_changes.removals import RemovalLimit, published_items
from pagoda.item_changes.snapshots import Snapshots
from pagoda.settings import Settings
from pagoda.storage.copies import delete

_LOG = "item log"
_WIDEST_READ = 256
_LOOK_SECONDS = 60.0
"""How often somebody who follows the log looks whether it was compacted past them, as after a long sleep."""


class ItemLog:
    """Numbered immutable records, created by whoever is first, as in the release log. Old ones become a snapshot."""

    def __init__(self, url: str, limit: RemovalLimit | None = None, key: str = "") -> None:
        """Open the log in the folder or the bucket prefix `url`; nothing is read or written yet.

        Args:
            url: Where it is.
            limit: What of the catalogue may be removed without force; None: all of it.
            key: Of the installation, which signs records; empty: it has none.
        """
        self._url, self._limit = url.rstrip("/"), limit
        self._store, self.snapshots = open_signed(url, _LOG, key), Snapshots(url, key)
        self._head = 0
        self._offsets: dict[str, int] = {}
        self._lock = threading.Lock()
        self._look_at = 0.0

    def records(self, after: int = 0) -> Iterator[ItemRecord]:
        """Every record whose number is greater than `after`, in order. One probe when there is nothing new.

        Where the log was compacted, one record stands for the first ones: it has the number of the last of them, and
        what they say of every item together.

        Raises:
            IntegrityError: A record is damaged.
            UnavailableError: The store does not answer.
        """
        if snapshot := self._newer_snapshot(after):
            yield snapshot
            after = snapshot.number
        number, width = after + 1, 1
        while True:
            contents = self._store.read([record_name(n) for n in range(number, number + width)])
            for content in contents:
                yield parse_item_record(content, number)
                number += 1
            if len(contents) < width:
                return
            width = min(2 * width, _WIDEST_READ)

    def read(self, number: int) -> ItemRecord | None:
        """One record by its number; None: there is none, or it is gone."""
        return next((parse_item_record(one, number) for one in self._store.read([record_name(number)])), None)

    def offset(self, partition: str) -> int | None:
        """The last offset of a partition of Kafka whose changes are in the log; None: it has none of that partition.

        Raises:
            UnavailableError: The store does not answer.
        """
        with self._lock:
            self._catch_up()
            return self._offsets.get(partition)

    def append(
        self,
        changes: Sequence[ItemChange],
        *,
        forced: bool = False,
        undoes: int | None = None,
        source: OffsetRange | None = None,
        by: str = "",
    ) -> ItemRecord:
        """Add a record after the last one.

        Args:
            changes: At most `MAX_CHANGES`.
            forced: Whether any number of items may be removed.
            undoes: The record that it takes back.
            source: What of Kafka the changes were read from; None: they came otherwise.
            by: The person who makes them, if somebody says.

        Raises:
            ConflictError: The log does not end at `source.after` of that partition: somebody else has appended what
                follows. Judged in the turn that writes, so each offset is in the log once.
            TooManyRemovalsError: It would remove too much of the catalogue. Judged by all records before this one: two
                writers cannot both use up what is left.
            UnavailableError: The store does not answer.
        """
        draft = ItemRecord(
            number=0,
            at=datetime.now(UTC),
            token=uuid.uuid4().hex,
            changes=tuple(changes),
            forced=forced,
            undoes=undoes,
            offsets={source.partition: source.last} if source else {},
            by=by,
        )
        with self._lock:
            while True:
                if written := self._catch_up(draft.token):
                    return written  # Its answer was lost on the way, and the client library tried again.
                if source:
                    self._require(source)
                if self._limit and not forced:
                    self._limit.check(changes, draft.at)
                record = draft.model_copy(update={"number": self._head + 1})
                if self._written(record):
                    return record

    def _written(self, record: ItemRecord) -> bool:
        """Write a record; False: its number is taken, or nobody reads it any more."""
        name = record_name(record.number)
        try:
            self._store.put(name, record.to_json())
        except ConflictError:
            return False  # Another writer was first; each turn has one winner, so this ends.
        if self.snapshots.newest() >= record.number:  # This writer slept while the log was compacted.
            delete(f"{self._url}/{name}")
            self._head = 0
            return False
        self._take(record)
        return True

    def _catch_up(self, token: str = "") -> ItemRecord | None:
        """Read up to the end of the log, or to the record of a token; then that record."""
        for record in self.records(self._head):
            self._take(record)
            if token and record.token == token:
                return record
        return None

    def _take(self, record: ItemRecord) -> None:
        self._head = record.number
        self._offsets.update(record.offsets)
        if self._limit:
            self._limit.take(record)

    def _require(self, source: OffsetRange) -> None:
        if (offset := self._offsets.get(source.partition, -1)) != source.after:
            raise ConflictError(f"item log: holds {source.partition} up to {offset}, not up to {source.after}")

    def _newer_snapshot(self, after: int) -> ItemRecord | None:
        """What stands for records after `after` that may be gone."""
        if after and time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + _LOOK_SECONDS
        newest = self.snapshots.newest()
        return self.snapshots.read(newest) if newest > after else None


def item_log_url(settings: Settings) -> str:
    """Where the item log of this installation is: beside its release log."""
    return f"{settings.log_url.rstrip('/')}/items"


def open_item_log(settings: Settings) -> ItemLog:
    """The item log of this installation."""
    own, log = settings.items, open_log(settings)
    limit = RemovalLimit(own.removal_share, timedelta(hours=own.removal_hours), lambda: published_items(log))
    return ItemLog(item_log_url(settings), limit, settings.signing_key)


def sign_item_log(settings: Settings) -> int:
    """As `pagoda.generations.release_log.sign_log`."""
    url = item_log_url(settings)
    names = [record_name(record.number) for record in ItemLog(url).records()]
    return open_signed(url, _LOG, settings.signing_key).sign(names)
