"""Which channels there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Set

from pagoda.item_vectors.vectors_by_id import VectorsById, no_vectors
from serving.recall.channels.base import Channel
from serving.recall.channels.popular import PopularChannel
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.servers.ports import Index
from serving.users.keys import Key


def channels_of(
    index: Index,
    removed: Set[Key],
    second: Callable[[str], VectorsById | None] = no_vectors,
    seconds: float = math.inf,
) -> tuple[Channel, ...]:
    """All channels, in the order in which a request asks them.

    Args:
        index: Finds items by vector.
        removed: Items that are gone, as callers know them; it may change at any time.
        second: Vectors of a cascade's second member, by collection.
        seconds: That these may take.
    """
    return TwoTowerChannel(index, second, seconds), PopularChannel(removed)
