"""What a record of the item log says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pagoda.append_log.records import record_name
from pagoda.errors import IntegrityError

MAX_CHANGES = 10_000
"""Changes of one record."""


class ItemChange(BaseModel):
    """One item that was added or changed, or removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item_id: int | str
    """As callers know it."""
    features: dict[str, Any] | None
    """All of its features by column, in the form of `pagoda.model.features.raw_values`; None: it is removed."""


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Records of one partition of Kafka that were read together."""

    partition: str
    """As `topic/0`."""
    after: int
    """The offset that was read last before them; -1: none was."""
    last: int
    """The offset of the last of them."""


class ItemRecord(BaseModel):
    """Changes that were made at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    at: AwareDatetime
    token: str
    changes: tuple[ItemChange, ...]
    forced: bool = False
    """Its removals were not held against the limit, and are not held against those that follow."""
    undoes: int | None = None
    """The record whose changes this one takes back."""
    offsets: dict[str, int] = {}
    """By partition of Kafka that its changes were read from, the last offset that the log holds with it."""
    by: str = ""
    """The person who made the changes in the console; empty where nobody says."""

    def to_json(self) -> bytes:
        """The record as one line; what it makes no use of is left out, so that older readers understand it."""
        return self.model_dump_json(exclude_defaults=True).encode()


def parse_item_record(content: bytes, number: int, name: str = "") -> ItemRecord:
    """Read a record back.

    Raises:
        IntegrityError: It is no record, or not the one of that number.
    """
    name = name or record_name(number)
    try:
        record = ItemRecord.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"item log: {name} is damaged: {error.errors()[0]['msg']}") from error
    if record.number != number:
        raise IntegrityError(f"item log: {name} says that it is number {record.number}")
    return record
