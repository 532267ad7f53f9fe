"""The item log: every change of an item since the beginning, in one order (invariant 2).

What it says of an item stands until it says otherwise: an item that was removed stays away from every collection, also
from those built later, and the last features given are those of all later updates.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pagoda.errors import ConflictError, IntegrityError
from pagoda.registry.records import record_name
from pagoda.registry.signing import open_signed
from pagoda.registry.store import RecordStore
from pagoda.settings import Settings

MAX_CHANGES = 10_000
"""Changes of one record."""
_LOG = "item log"
_WIDEST_READ = 256


class ItemChange(BaseModel):
    """One item that was added or changed, or removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item_id: int | str
    """As callers know it."""
    features: dict[str, Any] | None
    """All of its features by column, in the form of `pagoda.model.raw`; None: it is removed."""


class ItemRecord(BaseModel):
    """Changes that were made at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    at: AwareDatetime
    token: str
    changes: tuple[ItemChange, ...]


class ItemLog:
    """Numbered immutable records, created by whoever is first, as in the release log."""

    def __init__(self, url: str, *, store: RecordStore | None = None) -> None:
        """Open the log in the folder or the bucket prefix `url`; nothing is read or written yet."""
        self._store = store or open_signed(url, _LOG)
        self._head = 0
        self._lock = threading.Lock()

    def records(self, after: int = 0) -> Iterator[ItemRecord]:
        """Every record whose number is greater than `after`, in order. One probe when there is nothing new.

        Raises:
            IntegrityError: A record is damaged.
            UnavailableError: The store does not answer.
        """
        number, width = after + 1, 1
        while True:
            contents = self._store.read([record_name(n) for n in range(number, number + width)])
            for content in contents:
                yield _parse(content, number)
                number += 1
            if len(contents) < width:
                return
            width = min(2 * width, _WIDEST_READ)

    def append(self, changes: Sequence[ItemChange]) -> ItemRecord:
        """Add a record after the last one.

        Raises:
            UnavailableError: The store does not answer.
        """
        token, at = uuid.uuid4().hex, datetime.now(UTC)
        with self._lock:
            while True:
                for record in self.records(self._head):
                    self._head = record.number
                    if record.token == token:
                        return record  # Its answer was lost on the way, and the client library tried again.
                record = ItemRecord(number=self._head + 1, at=at, token=token, changes=tuple(changes))
                try:
                    self._store.put(record_name(record.number), record.model_dump_json().encode())
                except ConflictError:
                    continue  # Another writer was first; each turn has one winner, so this ends.
                self._head = record.number
                return record


def open_item_log(settings: Settings) -> ItemLog:
    """The item log of this installation, beside its release log."""
    url = f"{settings.log_url.rstrip('/')}/items"
    return ItemLog(url, store=open_signed(url, _LOG, settings.signing_key))


def sign_item_log(settings: Settings) -> int:
    """As `pagoda.registry.log.sign_log`."""
    url = f"{settings.log_url.rstrip('/')}/items"
    names = [record_name(record.number) for record in ItemLog(url).records()]
    return open_signed(url, _LOG, settings.signing_key).sign(names)


def _parse(content: bytes, number: int) -> ItemRecord:
    try:
        record = ItemRecord.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"item log: {record_name(number)} is damaged: {error.errors()[0]['msg']}") from error
    if record.number != number:
        raise IntegrityError(f"item log: {record_name(number)} says that it is number {record.number}")
    return record
