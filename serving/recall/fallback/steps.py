"""The steps of the fallback, as answers, metrics and gates name them.

store_remembered  the user as this process last read them
store_missing     the user's ID alone: neither profile nor behaviour
tower_cached      the vector that the generation's tower computed last, some minutes ago at most
tower_oov         the vector of a user of whom nothing is known
index_popular     the generation's most popular items that satisfy the filter
two_tower_missing the other channels, where a generation declares some; `popular_missing` and the like: the rest
text_missing      nothing: what the vector finds alone, for the items' words cannot be searched
prerank_skipped   nothing: items are in the order of what was found, for the pre-ranker is late, broken or not open
fields_missing    nothing: the generation was made without fields of items, or they cannot be read
"""

from __future__ import annotations

from pagoda.channels.factory import KINDS
from pagoda.channels.merging import FRESH, SECOND

REMEMBERED, MISSING = "store_remembered", "store_missing"
CACHED, OOV = "tower_cached", "tower_oov"
POPULAR = "index_popular"
TEXT = "text_missing"
PRERANK = "prerank_skipped"
FIELDS = "fields_missing"
OF_THE_STORE = frozenset({REMEMBERED, MISSING})
_MISSING = "_missing"
TOWERS = f"two_tower{_MISSING}"
FALLBACKS = frozenset({OOV, POPULAR, TOWERS, f"{FRESH}{_MISSING}"})
"""Steps that make an answer a fallback to the gates of a rollout. What other channels lack is seen by their items; how
many are fresh is not compared."""
OF_NO_SERVER = frozenset({FIELDS, *(f"{channel}{_MISSING}" for channel in (*KINDS, SECOND))})
"""Steps for which no server of the generation that answers is to blame, and so no arm."""


def without(channel: str) -> str:
    """The step of an answer for which a declared channel gave nothing, since it is not there."""
    return f"{channel}{_MISSING}"
