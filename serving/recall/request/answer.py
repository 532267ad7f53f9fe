"""One generation's answer: what is known of the user → user tower → item vectors → items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pagoda.errors import IntegrityError, NotHeldError, RequestError, UnavailableError
from serving.error_reasons import field_of
from serving.recall.api import Prediction, RecalledItem, RecallInstance
from serving.recall.fallback.fallback import OF_THE_STORE, POPULAR
from serving.recall.generations.generation import LiveGeneration
from serving.recall.metrics import ANSWERS, DEGRADED, SHORT_ANSWERS, UNKNOWN_USERS, Stopwatch
from serving.recall.request.parts import Parts
from serving.recall.servers.ports import Tower
from serving.recall.servers.tower import UserVector
from serving.users.keys import Key
from serving.users.online_store import StoredUser

WARM_UP = "warm-up"
"""Stands for the arm in the metrics of warm-up requests."""
_WARM_UPS = 3
_NOBODY: dict[str, Key] = {"int64": -(2**63) + 1, "string": "nobody: warm-up"}
"""IDs that no user has."""


async def answer_by(
    generation: LiveGeneration, arm: str, parts: Parts, asked: Sequence[RecallInstance], *, held: bool = True
) -> list[Prediction]:
    """Answer users by one generation: its feature spec, its tower and tables, its collection.

    Args:
        generation: It has checked the instances.
        arm: What the answers are called in metrics.
        parts: The servers.
        asked: The users.
        held: False: the tower may well not hold the generation, and then the ladder applies as if it did not answer.

    Raises:
        RequestError: The tower refuses a value.
        UnavailableError: A server does not answer, and nothing stands in for it.
        NotHeldError: The tower does not hold the generation.
        IntegrityError: A server answers what it should not.
    """
    watch = Stopwatch(arm)
    stored = await _stored(generation, parts, asked)
    watch.lap("store")
    vectors = await _vectors(generation, parts, asked, stored, held=held)
    watch.lap("tower")
    found = await asyncio.gather(
        *(_items(generation, parts, one, known, user) for one, known, user in zip(asked, stored, vectors, strict=True))
    )
    watch.lap("index")
    timing = watch.stop()
    predictions: list[Prediction] = [
        {
            "items": items,
            "generation": generation.id,
            "arm": arm,
            "known_user": user.known,
            "degraded": [*known.degraded, *user.degraded, *marks],
            "timing_ms": timing,
        }
        for known, user, (items, marks) in zip(stored, vectors, found, strict=True)
    ]
    _count(generation.id, arm, asked, predictions)
    return predictions


async def _stored(generation: LiveGeneration, parts: Parts, asked: Sequence[RecallInstance]) -> list[StoredUser]:
    users = [(one.user_id, one.exclude_seen) for one in asked]
    try:
        stored = await parts.store.read(users, generation.spec, generation.id)
    except UnavailableError:
        if parts.ladder is None:
            raise
        return parts.ladder.recall(users, generation.id)
    if parts.ladder is not None:
        parts.ladder.remember(users, stored, generation.id)
    return stored


async def _vectors(
    generation: LiveGeneration,
    parts: Parts,
    asked: Sequence[RecallInstance],
    stored: Sequence[StoredUser],
    *,
    held: bool,
) -> list[UserVector]:
    fresh = [parts.keeper.fresh(*pair) if parts.keeper else None for pair in zip(asked, stored, strict=True)]
    places = [place for place, vector in enumerate(fresh) if vector is None]
    try:
        computed = iter(await _computed(generation, parts.tower, *_at(places, asked, stored)) if places else ())
    except (UnavailableError, NotHeldError) as error:
        if parts.ladder is None or (held and isinstance(error, NotHeldError)):
            raise
        stand_ins = parts.ladder.vectors(generation, stored)
        if stand_ins is None:
            raise
        return stand_ins
    vectors = [next(computed) if vector is None else UserVector(vector, True) for vector in fresh]
    if parts.keeper is not None:
        parts.keeper.keep(generation.id, asked, stored, vectors)
    return vectors


def _at(
    places: Sequence[int], asked: Sequence[RecallInstance], stored: Sequence[StoredUser]
) -> tuple[list[RecallInstance], list[StoredUser]]:
    return [asked[place] for place in places], [stored[place] for place in places]


async def _items(
    generation: LiveGeneration, parts: Parts, one: RecallInstance, known: StoredUser, user: UserVector
) -> tuple[list[RecalledItem], tuple[str, ...]]:
    """The items of one user, and what stood in for the index."""
    try:
        found = await parts.index.search(
            generation.manifest.collection,
            generation.query(one, user.vector),
            one.k,
            wanted=generation.filter(one),
            excluded=generation.seen(one, known),
            keys=generation.spec.id_type == "string",
        )
    except UnavailableError:
        popular = generation.most_popular(one, known) if parts.ladder is not None else None
        if popular is None:
            raise
        return popular, (POPULAR,)
    return generation.scored(one, found), ()


async def _computed(
    generation: LiveGeneration, tower: Tower, asked: Sequence[RecallInstance], stored: Sequence[StoredUser]
) -> list[UserVector]:
    instances = [generation.tower_instance(one, known) for one, known in zip(asked, stored, strict=True)]
    try:
        return await tower.vectors(generation.manifest.full_version, generation.id, instances)
    except RequestError as error:
        if any(one.profile or one.context or one.history for one in asked):
            raise
        # All raw values came from the store, so the caller is not to blame.
        raise IntegrityError(f"online store: the user tower refuses what it holds: {field_of(error)}") from error


def _count(generation: str, arm: str, asked: Sequence[RecallInstance], predictions: Sequence[Prediction]) -> None:
    ANSWERS.labels(arm, generation).inc(len(asked))
    if unknown := sum(not one["known_user"] for one in predictions):
        UNKNOWN_USERS.labels(arm, generation).inc(unknown)
    if short := sum(len(found["items"]) < one.k for found, one in zip(predictions, asked, strict=True)):
        SHORT_ANSWERS.labels(arm, generation).inc(short)
    for one in predictions:
        for step in one["degraded"]:
            DEGRADED.labels(arm, generation, step).inc()


async def warm_up(generation: LiveGeneration, parts: Parts) -> None:
    """Send real requests through every part of a generation that is about to serve.

    The online store may be down: what stands in for it stands in for any user. Tower and index must answer.

    Raises:
        PagodaError: One was not answered, or with no item.
    """
    user: Key = "warm-up" if generation.spec.id_type == "string" else 0
    asked = [RecallInstance(user_id=user, exclude_seen=True)]
    for _ in range(_WARM_UPS):
        predictions = await answer_by(generation, WARM_UP, parts, asked)
        if missing := [step for step in predictions[0]["degraded"] if step not in OF_THE_STORE]:
            raise UnavailableError(f"generation {generation.id}: not warm, {', '.join(missing)} stood in")
        if not predictions[0]["items"]:
            raise UnavailableError(f"generation {generation.id}: collection {generation.manifest.collection} is empty")
    nobody: dict[str, Any] = {"user_id": _NOBODY[generation.spec.id_type], "profile": {}, "context": {}, "history": []}
    (newcomer,) = await parts.tower.vectors(generation.manifest.full_version, generation.id, [nobody])
    generation.newcomer = newcomer.vector
