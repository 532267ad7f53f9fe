"""What the candidates of several channels become: one answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from pagoda.errors import UnavailableError
from serving.recall.channels.base import Channel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup


async def merge(channels: Sequence[Channel], live: LiveGeneration, lookup: Lookup) -> None:
    """Fill in a user's items: those of the first channel that answers. The ones after it are not asked.

    Args:
        channels: One at least, in the order in which they are asked.
        live: The generation that answers.
        lookup: The user, after the tower's stage.

    Raises:
        UnavailableError: No channel answers; why the first one does not.
    """
    channel = channels[0]
    try:
        found = await channel.candidates(live, lookup)
    except UnavailableError:
        if len(channels) > 1:
            with suppress(UnavailableError):
                await merge(channels[1:], live, lookup)
                return
        raise
    lookup.candidates[channel.name] = lookup.items = found
    if channel.stands_in:
        lookup.degraded.append(channel.stands_in)
