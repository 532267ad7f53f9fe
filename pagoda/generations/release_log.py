"""The release log: numbered immutable records, and the one way to add another (invariant 7)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from pagoda.append_log.records import Draft, Record, parse_record, record_name
from pagoda.append_log.signing import open_signed
from pagoda.append_log.store import RecordStore
from pagoda.errors import ConfigError, ConflictError
from pagoda.generations.state import ReleaseState
from pagoda.settings import Settings

_LOG = "release log"
_PACK = 1000
_WIDEST_READ = 256


def _now() -> datetime:
    return datetime.now(UTC)


class ReleaseLog:
    """Registrations, generations and releases, as every process sees them: in one order, without edits."""

    def __init__(self, url: str, *, store: RecordStore | None = None, clock: Callable[[], datetime] = _now) -> None:
        """Open the log in the folder or the bucket prefix `url`; nothing is read or written yet."""
        self._store = store or open_signed(url, _LOG)
        self._clock = clock
        self._state = ReleaseState()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The time that the next record would carry."""
        return self._clock()

    def records(self, after: int = 0) -> list[Record]:
        """Every record whose number is greater than `after`, in order. One probe when there is nothing new.

        Raises:
            IntegrityError: A record is damaged.
            UnavailableError: The store does not answer.
        """
        return list(self._read(after))

    def state(self) -> ReleaseState:
        """What the records up to this moment say. Only records added since the last call are read.

        Raises:
            IntegrityError: A record is damaged.
            UnavailableError: The store does not answer.
        """
        with self._lock:
            news = self._read(self._state.head)
            if first := next(news, None):  # not all at once: a year of records would fill memory
                self._state = self._state.apply(chain([first], news))
            return self._state

    def append(self, kind: str, body: Mapping[str, Any], expected_head: int | None = None) -> Record:
        """Add one record after the record numbered `expected_head` (default: after the last one, whichever that is).

        Raises:
            ConflictError: Another record follows `expected_head` already; nothing was written.
            IntegrityError: The record would contradict the log (it releases an unknown generation, say).
            UnavailableError: The store does not answer.
        """
        while True:
            state = self.state()
            if expected_head not in (None, state.head):
                raise ConflictError(f"release log: expected {expected_head} records, found {state.head}; decide again")
            try:
                return self._put(Draft(kind=kind, body=body), state)
            except ConflictError:
                if expected_head is not None:
                    raise

    def commit(self, decide: Callable[[ReleaseState], Draft | None]) -> Record | None:
        """Add what `decide` makes of the state; when another writer was first, read and decide again.

        Returns:
            The record, or None when `decide` found nothing to do.

        Raises:
            IntegrityError: The record would contradict the log.
            UnavailableError: The store does not answer.
        """
        while True:
            state = self.state()
            draft = decide(state)
            if draft is None:
                return None
            try:
                return self._put(draft, state)
            except ConflictError:
                continue  # Somebody's record went in, so this ends: each turn has one winner.

    def _put(self, draft: Draft, state: ReleaseState) -> Record:
        number, token = state.head + 1, uuid.uuid4().hex
        content = Record(number=number, kind=draft.kind, at=self._clock(), token=token, body=draft.body).to_json()
        record = parse_record(content, number)  # what every other process is going to see
        _check(state.apply([record]), record)
        try:
            self._store.put(record.name, content)
        except ConflictError:
            if not self._is_mine(record):
                raise
        if record.number % _PACK == 0:
            self._pack(record.number)
        return record

    def _is_mine(self, record: Record) -> bool:
        # A client library may repeat a write whose answer was lost; the second one then meets the first.
        found = self._store.read([record.name])
        return bool(found) and parse_record(found[0], record.number).token == record.token

    def _pack(self, last: int) -> None:
        """Copy the thousand records up to `last` into one blob, so that a long log opens quickly."""
        names = [record_name(number) for number in range(last - _PACK + 1, last + 1)]
        with suppress(ConflictError):  # Records never change, so whoever was first made the same pack.
            self._store.put(_pack_name(last), b"\n".join(self._store.read(names)))

    def _read(self, after: int) -> Iterator[Record]:
        number = after + 1
        while (number - 1) % _PACK == 0 and (pack := self._store.read([_pack_name(number - 1 + _PACK)])):
            for line in pack[0].split(b"\n"):
                yield parse_record(line, number)
                number += 1
        width = 1
        while True:
            contents = self._store.read([record_name(n) for n in range(number, number + width)])
            for content in contents:
                yield parse_record(content, number)
                number += 1
            if len(contents) < width:
                return
            width = min(2 * width, _WIDEST_READ)


def open_log(settings: Settings) -> ReleaseLog:
    """The release log of this installation."""
    return ReleaseLog(settings.log_url, store=open_signed(settings.log_url, _LOG, settings.signing_key))


def sign_log(settings: Settings) -> int:
    """Let the records that were written before this installation had its key count as signed, once for all.

    Returns:
        How many they are.

    Raises:
        ConfigError: There is no key.
        ConflictError: It was done before.
        UnavailableError: The store does not answer.
    """
    if not settings.signing_key:
        raise ConfigError("there is no key to sign with: set PAGODA_REGISTRY__SIGNING_KEY")
    unsigned = ReleaseLog(settings.log_url)
    head = unsigned.state().head
    packs = [_pack_name(last) for last in range(_PACK, head + 1, _PACK)]
    store = open_signed(settings.log_url, _LOG, settings.signing_key)
    return store.sign([*map(record_name, range(1, head + 1)), *packs])


def _check(state: ReleaseState, record: Record) -> None:
    """Parse what the record adds: reading believes that whoever wrote it did."""
    if record.kind == "registered":
        state.version(record.body["version"])
    elif record.kind == "generation":
        state.generation(record.body["id"])


def _pack_name(last: int) -> str:
    return f"pack-{record_name(last)}l"
