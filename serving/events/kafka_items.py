"""Item changes from a topic of Kafka: each record is one item under its ID, and goes into the item log.

The log's own record says how far a partition is read, so that a change is in the log once, whoever is killed between
the append and Kafka's commit: what is read again could undo what others have changed since. A record that cannot be
taken is filed beside the log with the reason, and holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson

from pagoda.append_log.store import RecordStore
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConflictError, RequestError
from pagoda.item_changes.changes import item_id_of, removed, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange, OffsetRange
from pagoda.item_changes.removals import TooManyRemovalsError
from serving.error_reasons import field_of
from serving.events.intake import SpecSource
from serving.events.kafka_topic import Record
from serving.events.metrics import ITEM_RECORDS
from serving.http.fields import load_json, shown

FETCH_BYTES = 1 << 16
"""What a broker waits for, half a second at most: what comes by drops is one record of the item log even so."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Refusal:
    record: Record
    error: RequestError

    def line(self) -> bytes:
        """The record and why, as JSON."""
        one = self.record
        row = {"topic": one.topic, "partition": one.partition, "offset": one.offset, "timestamp": one.timestamp}
        return orjson.dumps({**row, "key": _text(one.key), "value": _text(one.value), "reason": str(self.error)})


class KafkaItems:
    """Takes records of item changes into the item log: a `RecordTarget`."""

    what = "item changes"
    behind = "another process has taken some of them"
    remedy = "set items.kafka.topic to one of another name"

    def __init__(self, log: ItemLog, specs: SpecSource, refused: RecordStore) -> None:
        """Nothing is read yet.

        Args:
            log: Where changes go.
            specs: What they are checked against.
            refused: Where records are filed that cannot be taken.
        """
        self._log, self._specs, self._refused = log, specs, refused
        for outcome in ("taken", "refused"):  # From 0 on: a counter that is born at 1 has no increase to alert by.
            ITEM_RECORDS.labels(outcome)

    async def applied(self, partition: str) -> int | None:
        """See `RecordTarget.applied`."""
        return await asyncio.to_thread(self._log.offset, partition)

    async def apply(self, partition: str, after: int, records: Sequence[Record]) -> int:
        """See `RecordTarget.apply`: all of them, or none where another process has taken some.

        Raises:
            UnavailableError: The item log does not answer, or nothing was released yet.
        """
        if records[0].offset <= after:
            return 0  # A partition that came back meanwhile: its reader stands elsewhere than the log.
        spec = await self._specs.spec()
        source = OffsetRange(partition, after, records[-1].offset)
        return await asyncio.to_thread(self._take, spec, source, records)

    def _take(self, spec: FeatureSpec, source: OffsetRange, records: Sequence[Record]) -> int:
        taken, refusals = _read(spec, records)
        self._file(refusals)
        while True:
            try:
                self._log.append([change for _, change in taken], source=source)
            except ConflictError:
                return 0
            except TooManyRemovalsError as error:
                beyond = [record for record, change in taken if _is_beyond(change, error)]
                self._file([_Refusal(record, error) for record in beyond])
                taken = [one for one in taken if not _is_beyond(one[1], error)]
            else:
                break
        ITEM_RECORDS.labels("taken").inc(len(taken))
        ITEM_RECORDS.labels("refused").inc(len(records) - len(taken))
        return len(records)

    def _file(self, refusals: Sequence[_Refusal]) -> None:
        """Keep what was refused, before the log's offset goes past it. A file is named by what is in it, so doing it
        again changes nothing."""
        if not refusals:
            return
        first, content = refusals[0].record, b"\n".join(one.line() for one in refusals)
        name = f"{first.topic}-{first.partition}-{first.offset}-{sha256(content).hexdigest()[:16]}.jsonl"
        try:
            self._refused.put(name, content)
        except ConflictError:
            return  # Whoever was here before has said so, too.
        logger.error(
            "Kafka %s/%d: %d records of item changes are refused, the first at %d (%s); they are in refused/%s beside "
            "the item log",
            *(first.topic, first.partition, len(refusals), first.offset, field_of(refusals[0].error), name),
        )


def _is_beyond(change: ItemChange, error: TooManyRemovalsError) -> bool:
    return change.features is None and change.item_id in error.beyond


def _read(spec: FeatureSpec, records: Sequence[Record]) -> tuple[list[tuple[Record, ItemChange]], list[_Refusal]]:
    taken, refusals = [], []
    for record in records:
        try:
            taken.append((record, change_of(spec, record.key, record.value)))
        except RequestError as error:
            refusals.append(_Refusal(record, error))
    return taken, refusals


def change_of(spec: FeatureSpec, key: bytes | None, value: bytes | None) -> ItemChange:
    """What a record changes.

    Args:
        spec: The feature declaration in force.
        key: The item's ID as text. Records of one key are in one partition, so those of an item stay in order.
        value: The item as a JSON object, as `POST /v1/items` takes it in `upsert`; None removes it.

    Raises:
        RequestError: They are no change of an item; the message names the field.
    """
    try:
        text = (key or b"").decode()
        known = removed(spec, item_id_of(spec, text), "key")
    except (UnicodeDecodeError, RequestError):
        raise RequestError(f"key: must be the item's ID as text (got {shown(key)})") from None
    if value is None:
        return known
    change = upserted(spec, load_json(value), "body")
    if change.item_id != known.item_id:
        raise RequestError(f"key: must be the item's ID, {change.item_id!r} (got {shown(known.item_id)})")
    return change


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")
