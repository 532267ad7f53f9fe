"""One generation's answer: what is known of the user → user tower → item vectors → items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, RequestError, UnavailableError
from serving.recall.api import Prediction, RecalledItem, RecallInstance
from serving.recall.live import LiveGeneration
from serving.recall.metrics import ANSWERS, SHORT_ANSWERS, UNKNOWN_USERS, Stopwatch
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


async def answer_by(
    generation: LiveGeneration, arm: str, parts: Parts, asked: Sequence[RecallInstance]
) -> list[Prediction]:
    """Answer users by one generation: its feature spec, its tower and tables, its collection.

    Args:
        generation: It has checked the instances.
        arm: What the answers are called in metrics.
        parts: The servers.
        asked: The users.

    Raises:
        RequestError: The tower refuses a value.
        UnavailableError: A server does not answer.
        NotHeldError: The tower does not hold the generation.
        IntegrityError: A server answers what it should not.
    """
    watch = Stopwatch(arm)
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


async def warm_up(generation: LiveGeneration, parts: Parts) -> None:
    """Send real requests through every part of a generation that is about to serve.

    Raises:
        PagodaError: One was not answered, or with no item.
    """
    user: Key = "warm-up" if generation.spec.id_type == "string" else 0
    asked = [RecallInstance(user_id=user, exclude_seen=True)]
    for _ in range(_WARM_UPS):
        predictions = await answer_by(generation, WARM_UP, parts, asked)
        if not predictions[0]["items"]:
            raise UnavailableError(f"generation {generation.id}: collection {generation.manifest.collection} is empty")
