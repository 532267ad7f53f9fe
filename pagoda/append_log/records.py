"""One line of the release log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pagoda.errors import IntegrityError

NAME_DIGITS = 8


class Draft(BaseModel):
    """What a writer wants the next record to say."""

    model_config = ConfigDict(frozen=True)

    kind: str
    body: Mapping[str, Any]


class Record(BaseModel):
    """A numbered immutable record. Numbers start at 1 and have no gaps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    kind: str
    """`registering`, `registered`, `generation`, `offered`, `released`, `retired`, `pruned`, `rollout.…`, or
    `forgetting.…`."""
    at: AwareDatetime
    token: str
    """Unique to the append, so that a writer whose answer was lost on the way recognises its own record."""
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that the store keeps it under."""
        return record_name(self.number)

    def to_json(self) -> bytes:
        """The record as one line of JSON."""
        return self.model_dump_json().encode()


def record_name(number: int) -> str:
    """`00000007.json`."""
    return f"{number:0{NAME_DIGITS}d}.json"


def parse_record(content: bytes, number: int) -> Record:
    """Read a record back.

    Raises:
        IntegrityError: It is no record, or not the one of that number.
    """
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"release log: {record_name(number)} is damaged: {error.errors()[0]['msg']}") from error
    if record.number != number:
        raise IntegrityError(f"release log: {record_name(number)} says that it is number {record.number}")
    return record
