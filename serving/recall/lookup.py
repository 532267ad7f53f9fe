"""What a request knows of one user as it goes through its stages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from pagoda.item_vectors.filter import Filter
from serving.http.fields import PastItems
from serving.recall.api import RecalledItem, RecallInstance
from serving.users.online_store import StoredUser

_MERGED = 100
"""An item that is a little further down in each of two lists stands before those that are up in one alone."""
_CHANNELS, _FIRST = itemgetter("channels"), itemgetter(0)
Vector = list[float]
"""`dim` numbers; of unit length, where cosines are compared."""


class Failure(NamedTuple):
    """Why a part of the answer is missing."""

    part: str
    """A channel or a step."""
    error: str
    late: bool
    """It did not answer in time."""


@dataclass(slots=True)
class Lookup:
    """One user of a request, while one generation answers them. Each stage fills in what it found, in this order.

    A generation that is asked in another's place begins with new ones, so nothing of two generations ever meets here.
    """

    instance: RecallInstance
    """What the caller asked."""
    wanted: Filter
    """What the items must satisfy: the instance's filter as the generation reads it, once, before any server is asked.
    Each backend says it in its own language."""
    least: int = 0
    """Candidates that a channel is to give at least: where they are ordered again, more than are wanted."""
    stored: StoredUser = field(default_factory=lambda: StoredUser({}, PastItems(), ()))
    """What is known of the user: from the online store, or from what stood in for it."""
    degraded: list[str] = field(default_factory=list)
    """What stood in for a server, in the order of the stages; see `serving.recall.fallback.steps`."""
    vectors: tuple[Vector, ...] = ()
    """What the generation's tower makes of the user, one for each interest; empty until its stage is done."""
    known: bool = False
    """Whether the user has an ID row of their own."""
    candidates: dict[str, list[RecalledItem]] = field(default_factory=dict)
    """What channels gave, by their names."""
    given: dict[str, int] = field(default_factory=dict)
    """How many candidates each declared channel gave; one that could not be asked gave none."""
    merged: list[RecalledItem] = field(default_factory=list)
    """What declared channels were merged into, before a pre-ranker chose among it; the best first."""
    items: list[RecalledItem] = field(default_factory=list)
    """What they are merged into: the answer, by falling score."""
    failures: tuple[Failure, ...] = ()
    """Of a lookup that is explained, why parts gave nothing."""

    def fail(self, part: str, error: str, *, late: bool = False) -> None:
        """Note why a part gives nothing, where somebody asks."""
        if self.instance.explain:
            self.failures += (Failure(part, error, late),)

    def failure(self, part: str) -> Failure | None:
        """Why a part gave nothing, as far as that was noted."""
        return next((one for one in self.failures if one.part == part), None)

    @property
    def depth(self) -> int:
        """How many candidates a channel is to give: k, and enough to be merged with another's, or ordered again."""
        one = self.instance
        return max(one.k, self.least) if one.text is None else max(one.k, _MERGED)

    @property
    def credits(self) -> Counter[str]:
        """Items by the channel that each counts for, the first of those that had it; without declared channels none."""
        return Counter(map(_FIRST, map(_CHANNELS, self.items))) if self.given else Counter()
