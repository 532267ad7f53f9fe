"""What a client gets. A newer service may say more than this: it is kept, and nothing fails for it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from pagoda.client.explanation import Explanation


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class RecommendedItem(_Answer):
    """One item of an answer."""

    item_id: int | str
    score: float
    """The cosine (the inner product, of a version that is trained so), what the dataset's rules make of it, or of a
    version with a pre-ranker the chance of a click."""
    recall_score: float | None = None
    """What it was found with, where a pre-ranker has ordered the answer."""
    channels: tuple[str, ...] = ()
    """Where it comes from, of a generation that declares channels; then scores of different ones do not compare."""
    propensity: float | None = None
    """The probability with which chance chose the item, where it did."""
    fields: dict[str, Any] = {}
    """What was asked of the item: its title, or item features, by their names."""


class Recommendation(_Answer):
    """One user's items, by falling score; of several channels, the best of each in turn."""

    user_id: int | str
    items: tuple[RecommendedItem, ...]
    generation: str
    """What answered."""
    arm: str
    known_user: bool
    """Whether the user has an ID row of their own."""
    degraded: tuple[str, ...] = ()
    """What stood in for a server that did not answer; empty: nothing did."""
    timing_ms: dict[str, float] = {}
    receipt: str | None = None
    """To be handed back with the user's events on these items; None: the service gives none."""
    explanation: Explanation | None = None
    """How it came about; None where `explain` was not asked for."""

    @property
    def item_ids(self) -> list[int | str]:
        """The items alone."""
        return [item.item_id for item in self.items]


class SimilarItems(_Answer):
    """Items like those that were asked about, by falling score."""

    items: tuple[RecommendedItem, ...]
    unknown: tuple[int | str, ...] = ()
    """Of the items asked about, those that the generation does not have; the others are what the answer is like."""
    generation: str
    arm: str
    degraded: tuple[str, ...] = ()

    @property
    def item_ids(self) -> list[int | str]:
        """The items alone."""
        return [item.item_id for item in self.items]


class EventsTaken(_Answer):
    """Given when events are in the stream and in their users' recent behaviour."""

    event_ids: tuple[str, ...]
    taken: int
    duplicates: int
    """Not taken, since they had been within the last hour: by an earlier call, or by a try of this one whose answer was
    lost. Or their user is being forgotten."""


class ItemsChanged(_Answer):
    """Given when item changes are in the item log; collections have them within seconds."""

    record: int
    changes: int


class InterestsSaid(_Answer):
    """Given when the online store has what a user likes."""

    interests: tuple[str, ...]
    stored: bool
    """False where the user is being forgotten."""
