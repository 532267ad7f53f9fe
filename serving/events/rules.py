"""What an event must be like to become an interaction of the dataset."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pagoda.data.checks.limits import LARGEST_WEIGHT
from pagoda.data.layout import features_of
from pagoda.data.spec import PAST_CHARACTERS, FeatureSpec
from pagoda.errors import RequestError, UnavailableError
from pagoda.model.features.raw_values import normal
from pagoda.settings import EventSettings
from serving.events.bodies import SentEvent
from serving.http.features import read_ids
from serving.http.fields import shown
from serving.receipts import NO_KEY, Receipts
from serving.users.keys import Key
from serving.users.recent import recent_entry

_SECOND_US, _DAY_US = 1_000_000, 86_400_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """When an event may have happened, as seen from now."""

    ahead_us: int = 60 * _SECOND_US
    """How far a client's clock may be ahead of ours."""
    late_us: int = 30 * _DAY_US
    """Every date becomes a file of its own, so that dates without end would be files without end."""

    @classmethod
    def of(cls, settings: EventSettings) -> Times:
        """As an installation has it."""
        return cls(settings.ahead_seconds * _SECOND_US, settings.late_days * _DAY_US)

    def check(self, moment: int, now_us: int, place: str) -> None:
        """Refuse a moment that lies outside.

        Raises:
            RequestError: The message names the field below `place`.
        """
        if moment > now_us + self.ahead_us:
            raise RequestError(f"{place}timestamp: lies in the future (got {moment}, it is {now_us})")
        if moment < now_us - self.late_us:
            days = self.late_us // _DAY_US
            raise RequestError(
                f"{place}timestamp: lies more than {days} days back (got {moment}, it is {now_us}); import older ones"
            )


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that may be taken."""

    row: dict[str, Any]
    """What the stream holds: event_id, user_id, item_id, event, timestamp in µs, and context values by name."""
    enters: bool
    """Whether it becomes a part of the user's history."""
    positive: bool
    """Whether the item counts as seen from now on."""
    tells_event: bool = False
    """Whether the history says which event it was."""
    text: str | None = None
    """As much as counts of what it said, where a feature reads past texts."""

    @property
    def user(self) -> Key:
        """Whose event it is."""
        user: Key = self.row["user_id"]
        return user

    @property
    def recent(self) -> str:
        """Its entry in the user's recent behaviour; empty where it is none."""
        if not self.enters:
            return ""
        row = self.row
        event = row["event"] if self.tells_event else None
        return recent_entry(row["timestamp"], row["item_id"], event, self.text)

    def record(self) -> dict[str, Any]:
        """What `Accepted(**record)` makes again; parts that came later are there only where they say something."""
        told = {"tells_event": self.tells_event, "text": self.text}
        told = {name: value for name, value in told.items() if value}
        return {"row": self.row, "enters": self.enters, "positive": self.positive, **told}


USUAL_TIMES = Times()


class EventRules:
    """The rules of one feature declaration."""

    def __init__(self, spec: FeatureSpec, times: Times, receipts: Receipts | None = None) -> None:
        """Check events against a declaration; without `receipts`, none was given.

        Raises:
            UnavailableError: It was made before such names were refused, and has a context feature `event_id`: its
                values would be taken for the events' IDs, and most events for duplicates.
        """
        self.spec, self._times, self._receipts = spec, times, receipts
        self._context = features_of(spec, "interactions")
        if any(feature.name == "event_id" for feature in self._context):
            raise UnavailableError(
                "events: features.yaml has a context feature 'event_id', which is a field of every event; rename it, "
                "and run a full update"
            )

    def accept(self, event: SentEvent, place: str, now_us: int) -> Accepted:
        """Check one event.

        Raises:
            RequestError: An ID is not of the dataset's type, the event or a context feature is unknown, a value is of
                the wrong type, the timestamp is too far from now, or the receipt is none of this user's answers with
                this item; the message names the field below `place`.
        """
        try:
            read_ids(self.spec, [event.user_id], "user_id")
            read_ids(self.spec, [event.item_id], "item_id")
        except RequestError as error:
            raise RequestError(f"{place}{error}") from None
        if event.event not in self.spec.known_events:
            known = sorted(self.spec.known_events)
            raise RequestError(f"{place}event: must be one of {known} (got {shown(event.event)})")
        moment = now_us if event.timestamp is None else event.timestamp
        self._times.check(moment, now_us, place)
        context = dict(event.context)
        weight = self._popped_weight(context, f"{place}context")
        row = {
            # Without an ID of the sender's, an event that is sent twice is two.
            "event_id": event.event_id or uuid.uuid4().hex,
            "user_id": event.user_id,
            "item_id": event.item_id,
            "event": event.event,
            "timestamp": moment,
            **normal(self._context, context, f"{place}context"),
            **weight,
            **self._shown(event, place),
        }
        spec = self.spec
        text = (row.get(spec.past_text.of) or "")[:PAST_CHARACTERS] if spec.past_text else None
        enters, positive = event.event in spec.history_events, event.event in spec.positives
        return Accepted(row, enters, positive, spec.embeds_events, text)

    def _shown(self, event: SentEvent, place: str) -> dict[str, Any]:
        """What showed the item, by column. Nothing where the dataset declares no receipts: a rollback must not make
        events of answers that had one unwelcome."""
        if event.receipt is None or not self.spec.receipts:
            return {}
        try:
            if self._receipts is None:
                raise RequestError(f"receipt: is of another installation; {NO_KEY}")
            return self._receipts.read(event.receipt, event.user_id, event.item_id).columns()
        except RequestError as error:
            raise RequestError(f"{place}{error}") from None

    def _popped_weight(self, context: dict[str, Any], place: str) -> dict[str, float]:
        """What a positive weighs, by its column's name, taken out of what came with the event; nothing for none."""
        name = self.spec.positive_weight
        value = context.pop(name, None) if name else None
        if name is None or value is None:
            return {}
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_WEIGHT:
            raise RequestError(f"{place}.{name}: must be a number from 0 to {LARGEST_WEIGHT:g} (got {shown(value)})")
        return {name: float(value)}
