"""The first stage: what the online store knows of the users."""

from __future__ import annotations

from collections.abc import Sequence

from pagoda.errors import UnavailableError
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.parts import Parts


async def fill_stored(live: LiveGeneration, parts: Parts, lookups: Sequence[Lookup]) -> None:
    """Fill in what is known of each user, in one round trip.

    Raises:
        UnavailableError: The store does not answer, and nothing stands in for it.
        IntegrityError: What it holds is no user.
    """
    try:
        users = [(one.instance.user_id, one.instance.exclude_seen) for one in lookups]
        # Vectors are kept for a generation, and where nobody keeps them, there are none to read.
        keeper = live.id if parts.vector_cache else ""
        stored = await parts.store.read(users, live.spec, keeper)
    except UnavailableError:
        if parts.fallback is None:
            raise
        parts.fallback.recall(lookups, live.id)
        return
    for lookup, known in zip(lookups, stored, strict=True):
        lookup.stored = known
    if parts.fallback is not None:
        parts.fallback.remember(lookups, live.id)
