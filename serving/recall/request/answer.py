"""One generation's answer: store → tower → channels → merge → pre-ranker, where it has one.

A `Lookup` of each user, begun by the generation, goes through the stages in this order, and each fills in its own part:

store_stage       what is known of the user
tower_stage       what the generation's tower makes of that: vectors
channels          candidates, merged into items (`channels.merge`)
preranking        the order of the items, where the generation has a model for it
item_values       what the request asks of the items, where it does
here              the lookups as the answer's fields, and the metrics

Users of one answer are asked for together, and so in one call a server: see `serving.recall.servers.batching`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from serving.recall.api import Prediction
from serving.recall.channels.merge import merge
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.metrics import (
    DEGRADED,
    SHORT_ANSWERS,
    UNKNOWN_USERS,
    Stopwatch,
    afterwards,
    answers_of,
    candidates_of,
    items_of,
)
from serving.recall.request.parts import Parts
from serving.recall.request.store_stage import fill_stored
from serving.recall.request.tower_stage import fill_vectors


async def answer_by(
    live: LiveGeneration, arm: str, parts: Parts, lookups: Sequence[Lookup], *, held: bool = True
) -> list[Prediction]:
    """Answer users by one generation: its feature spec, its tower and tables, its collection.

    Args:
        live: The generation.
        arm: What the answers are called in metrics.
        parts: What the users go through.
        lookups: The users, as the generation has begun them.
        held: False: the tower may well not hold the generation, and is then stood in for as if it did not answer.

    Raises:
        RequestError: The tower refuses a value.
        UnavailableError: A server does not answer, and nothing stands in for it.
        NotHeldError: The tower does not hold the generation.
        IntegrityError: A server answers what it should not.
    """
    with Stopwatch(arm) as watch:
        await fill_stored(live, parts, lookups)
        watch.lap("store")
        await fill_vectors(live, parts, lookups, held=held)
        watch.lap("tower")
        if len(lookups) == 1:
            await _merge(parts, live, lookups[0])  # Without a task.
        else:
            await asyncio.gather(*(_merge(parts, live, one) for one in lookups))
        watch.lap("index")
        if live.manifest.prerank is not None:
            await parts.preranking.order(live, lookups)
            watch.lap("prerank")
        if telling := [one for one in lookups if one.instance.fields]:
            await parts.item_values.fill(live, telling)
            watch.lap("fields")
        timing = watch.stop()
    afterwards(_count, arm, live.id, lookups)
    return [_prediction(arm, live.id, lookup, timing) for lookup in lookups]


async def _merge(parts: Parts, live: LiveGeneration, lookup: Lookup) -> None:
    await merge(
        parts.channels,
        live,
        lookup,
        parts.tables,
        parts.text,
        exploration=parts.exploration,
        second=parts.second,
        deadlines=parts.deadlines,
    )


def _prediction(arm: str, generation: str, lookup: Lookup, timing: dict[str, float]) -> Prediction:
    return {
        "items": lookup.items,
        "generation": generation,
        "arm": arm,
        "known_user": lookup.known,
        "degraded": lookup.degraded,
        "timing_ms": timing,
    }


def _count(arm: str, generation: str, lookups: Sequence[Lookup]) -> None:
    answers_of(arm, generation).inc(len(lookups))
    if unknown := sum(not one.known for one in lookups):
        UNKNOWN_USERS.labels(arm, generation).inc(unknown)
    if short := sum(len(one.items) < one.instance.k for one in lookups):
        SHORT_ANSWERS.labels(arm, generation).inc(short)
    for one in lookups:
        for step in one.degraded:
            DEGRADED.labels(arm, generation, step).inc()
        if one.given:
            for channel, items in one.credits.items():
                items_of(arm, generation, channel).inc(items)
            for channel, candidates in one.given.items():
                candidates_of(arm, generation, channel).inc(candidates)
