"""What clients send as events, and what they get."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, RootModel, ValidationError
from typing_extensions import TypedDict

from serving.http.fields import Id, Moment, Sent, described, load_json, refuse
from serving.receipts import MAX_CHARACTERS, PATTERN

MAX_EVENTS = 200
"""Of one request: Redis answers nobody else while it takes them, some 10 ms."""


class SentEvent(Sent):
    """One thing that a user did with an item."""

    event_id: Annotated[str, Field(strict=True, pattern=r"^[!-~]{1,128}$")] | None = None
    """Yours; an event that comes again under the same one is taken once. Absent: one is made."""
    user_id: Id
    """Who did it."""
    item_id: Id
    """With what."""
    event: Annotated[str, Field(strict=True)]
    """`click`, for example; see `events` in the dataset's features.yaml."""
    timestamp: Moment | None = None
    """When. Absent: now. At most a minute ahead of the server's clock and 30 days old, unless the settings
    `events.ahead_seconds` and `events.late_days` say otherwise."""
    context: dict[str, Any] = Field(default_factory=dict)
    """Raw values of the features that come with a request, and what the event weighs, if the dataset declares that."""
    receipt: Annotated[str, Field(strict=True, max_length=MAX_CHARACTERS, pattern=PATTERN)] | None = None
    """The user's, of the answer that the item came with, as it is."""


class EventsBody(Sent):
    """Several events; all are taken or none."""

    events: Annotated[list[SentEvent], Field(min_length=1, max_length=MAX_EVENTS)]
    """What users did."""


class OneOrSeveralEvents(RootModel[EventsBody | SentEvent]):
    """Several events, or one without a list around it; all are taken or none."""


@described
class EventsAnswer(TypedDict):
    """Given when the events are in the stream, and in their users' recent behaviour."""

    event_ids: list[str]
    """Of all events, in their order: yours, or the one that was made."""
    taken: int
    """How many are new."""
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
