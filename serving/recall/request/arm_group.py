"""Arm groups: the users of a request that one arm answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pagoda.generations.arms import Arm
from pagoda.index.base import MOST_WORDS
from serving.recall.api import RecallInstance, Telling
from serving.recall.generations.follower import Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.cohorts import SLICE

_WORD_BYTES = 4
"""Of a short word and a space, or of a Chinese character, which is one."""


@dataclass(frozen=True, slots=True)
class ArmGroup:
    """Users of one request who are in the same arm."""

    arm: Arm
    counted: bool
    """Whether gates look at them: not when a tester chose the arm, or wants an explanation."""
    places: tuple[int, ...]
    """In the request."""
    asked: tuple[RecallInstance, ...]
    candidates: int = 0
    """Items that are looked for at least, for each."""
    explained: bool = False
    """Whether they want to know how their answers came about: all of them or none."""
    header: str | None = None
    """By which a tester chose the arm."""

    @property
    def cost(self) -> float:
        """See `cost_of`."""
        return sum(cost_of(one, self.candidates) for one in self.asked)

    def slices(self) -> list[ArmGroup]:
        """The same users in groups that cost little: what is asked at once takes no longer than others may wait for it,
        and than an arm may take."""
        if self.cost <= SLICE:
            return [self]
        ends, room = [], 0.0
        for number, one in enumerate(self.asked):
            if (room := room - cost_of(one, self.candidates)) < 0:
                ends.append(number)
                room = SLICE - cost_of(one, self.candidates)
        return [
            replace(self, places=self.places[start:end], asked=self.asked[start:end])
            for start, end in pairwise((*ends, len(self.asked)))
        ]

    def begin(self, live: LiveGeneration) -> list[Lookup]:
        """A lookup of each user by a generation, which refuses what it cannot answer before any server is asked.

        Raises:
            RequestError: The message names the field.
        """
        return [live.begin(one, f"instances.{place}") for place, one in zip(self.places, self.asked, strict=True)]


def cost_of(one: RecallInstance, candidates: int = 0) -> float:
    """What a user costs, in users who want a hundred items: a search, another where words are looked for, and fields.

    Args:
        one: The user.
        candidates: Items that are looked for at least, whatever k is.
    """
    filtered = bool(one.filter)
    words = 0.0 if one.text is None else cost_of_search(0, filtered=filtered) + _words(one.text) / 16
    return cost_of_search(max(one.k, candidates), filtered=filtered) + words + cost_of_fields(one)


def cost_of_search(k: int, *, filtered: bool) -> float:
    """A search looks at so many more items the more it is to find, and at four times as many under a filter
    (`pagoda.index.milvus.parameters.search_params`)."""
    return max(1.0, k / 100) * (4.0 if filtered else 1.0)


def cost_of_fields(one: Telling) -> float:
    """A hundred values of items take a tenth of a user (0.14 of 1.4 ms of processor time), counted twice for those that
    are long."""
    return one.k * len(one.fields) / 500


def _words(text: str) -> float:
    """How many words are looked up, about. At 100,000 items the 32 that most of them have take 3 ms, one takes 1, a
    thousand items no more than half a millisecond more than a hundred; what a filter leaves is looked for in 5 ms, with
    many words in 7."""
    return min(MOST_WORDS, len(text.encode()) / _WORD_BYTES)


def groups_of(serving: Serving, asked: Sequence[RecallInstance], header: str | None) -> list[ArmGroup]:
    """The users of a request by arm; those who want an explanation by themselves, so that it costs the others nothing.

    Raises:
        RequestError: The header names no arm.
    """
    places: dict[tuple[Arm, bool, bool], list[int]] = {}
    for place, instance in enumerate(asked):
        arm, counted = serving.choose(instance.user_id, header)
        places.setdefault((arm, counted, instance.explain), []).append(place)
    return [
        ArmGroup(
            arm,
            counted and not explained,
            tuple(among),
            tuple(asked[place] for place in among),
            serving.candidates(arm),
            explained,
            header,
        )
        for (arm, counted, explained), among in places.items()
    ]
