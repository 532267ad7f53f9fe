"""The second stage: what the generation's user tower makes of the users."""

from __future__ import annotations

from collections.abc import Sequence

from pagoda.errors import IntegrityError, NotHeldError, RequestError, UnavailableError
from serving.error_reasons import field_of
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.parts import Parts
from serving.recall.servers.ports import Tower


async def fill_vectors(live: LiveGeneration, parts: Parts, lookups: Sequence[Lookup], *, held: bool) -> None:
    """Fill in each user's vectors: a kept one that is still right, else what the tower says.

    Args:
        live: The generation.
        parts: The tower, and what spares it or stands in for it.
        lookups: The users, after the store's stage.
        held: False: the tower may well not hold the generation, and is then stood in for as if it did not answer.

    Raises:
        RequestError: The tower refuses a value.
        UnavailableError: It does not answer, and nothing stands in for it.
        NotHeldError: It does not hold the generation.
        IntegrityError: It answers what it should not.
    """
    cache = parts.vector_cache
    computed = [one for one in lookups if not _reuse(one, cache)] if cache is not None else lookups
    try:
        if computed:
            await _compute(live, parts.tower, computed)
    except (UnavailableError, NotHeldError) as error:
        # Where it should be held, the arm looks for a newer generation before anything stands in: see `ArmAnswers`.
        if parts.fallback is None or (held and isinstance(error, NotHeldError)):
            raise
        if not parts.fallback.stand_in(live, lookups):
            raise
    else:
        if cache is not None:
            cache.keep(live.id, computed)


def _reuse(lookup: Lookup, cache: VectorCache) -> bool:
    """Whether the tower is spared."""
    if (vectors := cache.fresh(lookup)) is None:
        return False
    lookup.vectors, lookup.known = vectors, True  # Of users without a row of their own none is kept.
    return True


async def _compute(live: LiveGeneration, tower: Tower, lookups: Sequence[Lookup]) -> None:
    told = [live.tower_instance(one.instance, one.stored) for one in lookups]
    try:
        found = await tower.vectors(live.manifest.full_version, live.id, told)
    except RequestError as error:
        if any(one.instance.profile or one.instance.context or one.instance.history for one in lookups):
            raise
        # All raw values came from the store, so the caller is not to blame.
        raise IntegrityError(f"online store: the user tower refuses what it holds: {field_of(error)}") from error
    for lookup, user in zip(lookups, found, strict=True):
        if len(user.vectors) != live.manifest.interests:
            raise IntegrityError(
                f"user tower: {len(user.vectors)} vectors of a user by generation {live.id}, whose manifest says "
                f"{live.manifest.interests}"
            )
        lookup.vectors, lookup.known = user.vectors, user.known
