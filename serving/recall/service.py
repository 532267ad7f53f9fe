"""A request's way: what is known of the user → user tower → item vectors → items, all of one generation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, NotHeldError, RequestError, UnavailableError
from serving.recall.api import Prediction, RecalledItem, RecallInstance
from serving.recall.generations import Generations, Serving
from serving.recall.live import LiveGeneration
from serving.recall.metrics import ANSWERS, IN_FLIGHT, SHORT_ANSWERS, UNKNOWN_USERS, Stopwatch
from serving.recall.store import Key, StoredUser
from serving.recall.tower import UserVector

WARM_UP = "warm-up"
"""Stands for the arm in the metrics of warm-up requests."""
_WARM_UPS = 3


class Store(Protocol):
    """Where users' profiles and behaviour are."""

    async def read(self, users: Sequence[tuple[Key, bool]], spec: FeatureSpec) -> list[StoredUser]:
        """See `OnlineStore.read`."""


class Tower(Protocol):
    """What makes users' vectors."""

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVector]:
        """See `TowerClient.vectors`."""


class Index(Protocol):
    """What finds items."""

    async def search(
        self, collection: str, vector: Sequence[float], k: int, *, expression: str, selective: bool, keys: bool
    ) -> list[RecalledItem]:
        """See `ItemIndex.search`."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The servers that a request goes through."""

    store: Store
    tower: Tower
    index: Index


class Recall:
    """Answers requests by what serves now."""

    def __init__(self, parts: Parts, generations: Generations) -> None:
        self._parts, self._generations = parts, generations

    async def answer(self, asked: Sequence[RecallInstance]) -> list[Prediction]:
        """Answer one request by what serves at its start, and by nothing else.

        Raises:
            RequestError: A field is wrong; the message names it.
            UnavailableError: Nothing serves yet, or a server that is needed does not answer.
            NotHeldError: The tower does not hold the generation.
        """
        with IN_FLIGHT.track_inprogress():
            return await self._answer_by_what_serves(asked)

    async def _answer_by_what_serves(self, asked: Sequence[RecallInstance]) -> list[Prediction]:
        serving = self._generations.require()
        try:
            return await self._answer(serving, asked)
        except NotHeldError:
            # The tower may have let go of it because another one was released: then that one answers, from the start.
            await self._generations.refresh()
            if self._generations.require() is serving:
                raise
            return await self._answer(self._generations.require(), asked)

    async def _answer(self, serving: Serving, asked: Sequence[RecallInstance]) -> list[Prediction]:
        arm, generation = serving.pick()
        return await answer_by(generation, arm, self._parts, asked)


async def answer_by(
    generation: LiveGeneration, arm: str, parts: Parts, asked: Sequence[RecallInstance]
) -> list[Prediction]:
    """Answer users by one generation: its feature spec, its tower and tables, its collection.

    Raises:
        RequestError: A field is wrong.
        UnavailableError: A server does not answer.
        NotHeldError: The tower does not hold the generation.
    """
    watch = Stopwatch(arm)
    for place, instance in enumerate(asked):
        generation.check(instance, f"instances.{place}")
    stored = await parts.store.read([(one.user_id, one.exclude_seen) for one in asked], generation.spec)
    watch.lap("store")
    vectors = await _vectors(generation, parts.tower, asked, stored)
    watch.lap("tower")
    found = await asyncio.gather(
        *(
            parts.index.search(
                generation.manifest.collection,
                user.vector,
                one.k,
                expression=generation.expression(one, known),
                selective=bool(one.filter),
                keys=generation.spec.id_type == "string",
            )
            for one, known, user in zip(asked, stored, vectors, strict=True)
        )
    )
    watch.lap("index")
    timing = watch.stop()
    _count(generation.id, arm, asked, vectors, found)
    return [
        {
            "items": items,
            "generation": generation.id,
            "arm": arm,
            "known_user": user.known,
            "timing_ms": timing,
        }
        for items, user in zip(found, vectors, strict=True)
    ]


async def _vectors(
    generation: LiveGeneration, tower: Tower, asked: Sequence[RecallInstance], stored: Sequence[StoredUser]
) -> list[UserVector]:
    instances = [generation.tower_instance(one, known) for one, known in zip(asked, stored, strict=True)]
    try:
        return await tower.vectors(generation.manifest.full_version, generation.id, instances)
    except RequestError as error:
        if any(one.profile or one.context or one.history for one in asked):
            raise
        # All raw values came from the store, so the caller is not to blame.
        raise IntegrityError(f"online store: the user tower refuses what it holds: {error}") from error


def _count(
    generation: str,
    arm: str,
    asked: Sequence[RecallInstance],
    vectors: Sequence[UserVector],
    found: Sequence[Sequence[RecalledItem]],
) -> None:
    ANSWERS.labels(arm, generation).inc(len(asked))
    if unknown := sum(not user.known for user in vectors):
        UNKNOWN_USERS.labels(arm, generation).inc(unknown)
    if short := sum(len(items) < one.k for items, one in zip(found, asked, strict=True)):
        SHORT_ANSWERS.labels(arm, generation).inc(short)


async def warm_up(serving: Serving, parts: Parts) -> None:
    """Send real requests through every part of what is about to serve.

    Raises:
        PagodaError: One was not answered, or with no item.
    """
    for generation in serving.arms.values():
        user: Key = "warm-up" if generation.spec.id_type == "string" else 0
        asked = [RecallInstance(user_id=user, exclude_seen=True)]
        for _ in range(_WARM_UPS):
            predictions = await answer_by(generation, WARM_UP, parts, asked)
            if not predictions[0]["items"]:
                raise UnavailableError(
                    f"generation {generation.id}: collection {generation.manifest.collection} is empty"
                )
