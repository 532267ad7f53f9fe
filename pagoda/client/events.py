"""What users did, on its way to the service."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MAX_EVENTS = 200
"""Of one request, see `docs/events.md`."""


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a user did with an item. It has an ID from the start: however often it is sent, it counts once."""

    user_id: int | str
    item_id: int | str
    event: str = "click"
    timestamp: datetime | int | None = None
    """With its zone, or microseconds since 1970. None: when it arrives."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """Raw values of the features that come with a request, and what the event weighs, if the dataset declares that."""
    event_id: str = field(default_factory=_new_id)
    receipt: str | None = None
    """Of the `Recommendation` that the item came with."""

    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "event_id": self.event_id,
            "user_id": self.user_id,
            "item_id": self.item_id,
            "event": self.event,
            **({} if self.timestamp is None else {"timestamp": self.timestamp}),
            **({"context": dict(self.context)} if self.context else {}),
            **({} if self.receipt is None else {"receipt": self.receipt}),
        }
