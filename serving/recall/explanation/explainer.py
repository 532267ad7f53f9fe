"""Explains answers: from what their lookups hold, and what is only looked up where somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass, field

from pagoda.client.explanation import ArmExplained, BreakerState, Explanation, FilterExplained
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.index.base import FilterCount
from serving.recall.channels.tables import TableChannels
from serving.recall.explanation.by_channel import explained_channels, explained_prerank
from serving.recall.explanation.id_rows import IdRows
from serving.recall.explanation.user import explained_user
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.metrics import BREAKERS
from serving.users.keys import Key

_STATES: tuple[BreakerState, ...] = ("closed", "half_open", "open")
"""As `BREAKERS` numbers them."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains answers of all generations."""

    rows: IdRows = field(default_factory=IdRows)
    """Know which version an ID row is of."""
    tables: TableChannels = field(default_factory=TableChannels)
    """Know the items of generations that declare channels."""
    removed: Set[Key] = frozenset()
    """Items that are gone; it may change at any time."""
    count: FilterCount | None = None
    """Counts what a filter leaves of a collection; None: the backend cannot cheaply."""

    async def explain(self, live: LiveGeneration, lookup: Lookup, arm: ArmExplained) -> Explanation:
        """How a user's answer came about.

        Args:
            live: What answered.
            lookup: The user, after all stages.
            arm: Why that one.
        """
        counted = await self._counted(live, lookup)
        # It reads files, and of many items takes milliseconds.
        return await asyncio.to_thread(self._explained, live, lookup, arm, counted)

    async def _counted(self, live: LiveGeneration, lookup: Lookup) -> FilterExplained | None:
        if not lookup.wanted or self.count is None:
            return None
        with suppress(UnavailableError):
            kept, total = await self.count(live.manifest.collection, lookup.wanted)
            return {"kept": kept, "total": total, "exact": True}
        return None

    def _explained(
        self, live: LiveGeneration, lookup: Lookup, arm: ArmExplained, counted: FilterExplained | None
    ) -> Explanation:
        one = lookup.instance
        return {
            "arm": arm,
            "user": explained_user(live, lookup, self.rows),
            "excluded": len(live.seen(one, lookup.stored)) if one.exclude_seen else None,
            "filter": counted or self._estimated(live, lookup),
            "removed": len(self.removed),
            "candidates": lookup.depth,
            "channels": explained_channels(live, lookup),
            "prerank": explained_prerank(live, lookup),
            "breakers": _breakers(live.manifest),
        }

    def _estimated(self, live: LiveGeneration, lookup: Lookup) -> FilterExplained | None:
        found = self.tables.count(live, lookup.wanted) if lookup.wanted else None
        return None if found is None else {"kept": found[0], "total": found[1], "exact": False}


def _breakers(manifest: Manifest) -> dict[str, BreakerState]:
    """Those of `serving.recall.servers.breaker_guards`, as Prometheus is told of them."""
    collection = manifest.collection
    own = {"store", f"tower {manifest.full_version}", f"index {collection}", f"text {collection}"}
    samples = (sample for metric in BREAKERS.collect() for sample in metric.samples)
    return {one.labels["server"]: _STATES[int(one.value)] for one in samples if one.labels["server"] in own}
