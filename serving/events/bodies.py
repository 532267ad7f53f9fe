"""What clients send as events, and what they get."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from serving.http.fields import Id, Moment, load_json, refuse
from serving.receipts import MAX_CHARACTERS, PATTERN

MAX_EVENTS = 200
"""Of one request: Redis answers nobody else while it takes them, some 10 ms."""


class SentEvent(BaseModel):
    """One thing that a user did with an item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: Annotated[str, Field(strict=True, pattern=r"^[!-~]{1,128}$")] | None = None
    """Yours; an event that comes again under the same one is taken once. Absent: one is made."""
    user_id: Id
    item_id: Id
    event: Annotated[str, Field(strict=True)]
    """`click`, for example; see `events` in the dataset's features.yaml."""
    timestamp: Moment | None = None
    """Absent: now."""
    context: dict[str, Any] = {}
    """Raw values of the features that come with a request, and what the event weighs, if the dataset declares that."""
    receipt: Annotated[str, Field(strict=True, max_length=MAX_CHARACTERS, pattern=PATTERN)] | None = None
    """The user's, of the answer that the item came with, as it is."""


class EventsBody(BaseModel):
    """Several events, or one without a list around it; all are taken or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: Annotated[list[SentEvent], Field(min_length=1, max_length=MAX_EVENTS)]


class EventsAnswer(TypedDict):
    """Given when the events are in the stream, and in their users' recent behaviour."""

    event_ids: list[str]
    taken: int
    duplicates: int
    """How many were not taken: they had been before, under the same ID, or their user is being forgotten."""


def parse_events(raw: bytes) -> list[SentEvent]:
    """Parse one event or several.

    Raises:
        RequestError: The body is malformed; the message names the field, the value and what was expected.
    """
    content = load_json(raw)
    try:
        if "events" in content:
            return EventsBody.model_validate(content).events
        return [SentEvent.model_validate(content)]
    except ValidationError as error:
        raise refuse(error) from None
