"""The first stage: what the online store knows of the users."""

from __future__ import annotations

from collections.abc import Sequence

from pagoda.errors import UnavailableError
from serving.recall.api import RecallInstance
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.parts import Parts


async def look_up(live: LiveGeneration, parts: Parts, asked: Sequence[RecallInstance]) -> list[Lookup]:
    """Begin a lookup of each user, in one round trip.

    Raises:
        UnavailableError: The store does not answer, and nothing stands in for it.
        IntegrityError: What it holds is no user.
    """
    try:
        stored = await parts.store.read([(one.user_id, one.exclude_seen) for one in asked], live.spec, live.id)
    except UnavailableError:
        if parts.fallback is None:
            raise
        return parts.fallback.recall(asked, live.id)
    lookups = [Lookup(one, known) for one, known in zip(asked, stored, strict=True)]
    if parts.fallback is not None:
        parts.fallback.remember(lookups, live.id)
    return lookups
