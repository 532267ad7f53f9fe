"""The channel `explore` in recall: new items near to the user, chosen by chance, between the others' items."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from dataclasses import dataclass
from weakref import WeakSet

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from redis.exceptions import RedisError

from pagoda.channels.base import NOTHING, Allowed, BoolArray, Float32Array, Int64Array, Ranked, anything
from pagoda.channels.explore import ExploreTable, draws_of, explored
from pagoda.channels.item_lists import best_allowed
from pagoda.channels.merging import EXPLORE
from pagoda.errors import IntegrityError
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR
from pagoda.item_vectors.parts import part_uris
from serving.background import every
from serving.recall.api import RecalledItem
from serving.recall.channels.exploration_counts import ExplorationCounts, counts_of
from serving.recall.channels.item_columns import read_rows, reading_items
from serving.recall.channels.tables import TableChannels, open_channel
from serving.recall.generations.generation import LiveGeneration, moment_us
from serving.recall.generations.per_version import PerVersion
from serving.recall.lookup import Lookup
from serving.users.keys import Key

_LOOK_SECONDS = 5.0
NO_DRAWS: Float32Array = np.empty((0, 0, 0), np.float32)
_SAME_US = 300_000_000
"""A request that is sent again within the same five minutes is answered alike."""


@dataclass(frozen=True)
class Beliefs:
    """What is known of one version's new items at a moment."""

    free: BoolArray
    """Which may be explored, bool [f]."""
    handicap: Float32Array
    """What is added to how near they are: 0, and -∞ to those that may not, float32 [f]."""
    draws: Float32Array
    """See `draws_of`; none for the method that needs none."""


class NewItems:
    """The new items of one version, with their vectors and what is known of them by now."""

    def __init__(self, table: ExploreTable, names: list[Key], vectors: Float32Array) -> None:
        """Hold a table's items, what callers call them and their vectors, float32 [f, dim]."""
        self.table, self.names, self._vectors = table, names, vectors
        self._places = {name: place for place, name in enumerate(names)}
        self._all = np.arange(len(names))
        self._nearest = min(table.declared.nearest, len(names))
        self._seed = 0
        self.beliefs = self._believe(table.counts)

    def take_in(self, counts: Int64Array) -> None:
        """Know impressions and positives, int64 [2, f], -1 of what is counted no more, from now on."""
        self._seed += 1
        self.beliefs = self._believe(counts)

    def nearest(self, vectors: Float32Array, allowed: Allowed, shown: Set[Key]) -> Ranked:
        """Places of those that may be explored and are nearest to any of a user's `vectors` [interests, dim].

        None is among those of `shown`. It gives as many as the section says; fewer where there are no more.
        """
        if not self.names:
            return NOTHING
        products = self._vectors @ vectors.T
        similarity = products.max(axis=1) if len(vectors) > 1 else products[:, 0]  # Of one, it takes as long as these.
        similarity += self.beliefs.handicap
        if also := [self._places[name] for name in self._places.keys() & shown]:
            similarity[also] = -np.inf
        if allowed is not anything:
            among = best_allowed(self._all, similarity, lambda at: allowed(self.table.items[at]), self._nearest)
        else:  # Nobody asks for their order.
            places = similarity.argpartition(-self._nearest)[-self._nearest :]
            among = Ranked(places, similarity[places])
        there = among.scores > -np.inf
        return among if there.all() else Ranked(among.ids[there], among.scores[there])

    def chosen(
        self, vectors: Float32Array, allowed: Allowed, shown: Set[Key], budget: float, seed: int
    ) -> list[RecalledItem]:
        """What chance chooses of the `nearest` for so many places in the mean, with probabilities; see `explored`."""
        found = self.nearest(vectors, allowed, shown)
        numbers, propensities = explored(self.beliefs.draws, found.ids, budget, self.table.declared, seed)
        places, scores = found.ids[numbers].tolist(), found.scores[numbers].tolist()
        return [
            {"item_id": self.names[place], "score": score, "channels": [EXPLORE], "propensity": propensity}
            for place, score, propensity in zip(places, scores, propensities.tolist(), strict=True)
        ]

    def _believe(self, counts: Int64Array) -> Beliefs:
        impressions, clicks = counts
        free = (impressions >= 0) & (clicks >= 0) & (clicks < self.table.declared.clicks)
        handicap = np.where(free, 0, -np.inf).astype(np.float32)
        if self.table.declared.method == "epsilon":
            return Beliefs(free, handicap, NO_DRAWS)
        return Beliefs(free, handicap, draws_of(self.table.believed(np.maximum(counts, 0)), self._seed))


class Exploration:
    """Explores for all generations that declare it."""

    def __init__(self, tables: TableChannels, counts: ExplorationCounts) -> None:
        """Explore what `tables` allow, by `counts`."""
        self._tables, self._counts = tables, counts
        self._items: PerVersion[NewItems] = PerVersion(self._read, f"answers without its channel {EXPLORE}")
        self._all: WeakSet[NewItems] = WeakSet()

    async def warm(self, live: LiveGeneration) -> None:
        """Read a generation's new items, unless that was done; see `PerVersion.warm`."""
        mixture = live.manifest.mixture
        if mixture and any(channel.kind == EXPLORE for channel in mixture.channels):
            await self._items.warm(live)

    async def follow(self) -> None:
        """Learn what became of new items, until cancelled."""
        await every(_LOOK_SECONDS, self.look)

    async def look(self) -> None:
        """Learn it once. Without an answer, what was known stands."""
        if not (all_items := list(self._all)):
            return
        # The new items of all that serve, or a candidate that is rolled back would have taken those of the others away.
        by_age, counted = sorted(all_items, key=lambda one: one.table.window_end_us), dict[Key, list[int]]()
        for items in by_age:
            counted |= dict(zip(items.names, items.table.counts.T.tolist(), strict=True))
        counts = np.array(list(counted.values()), np.int64).reshape(-1, 2).T
        try:
            found = await self._counts.look(by_age[-1].table.window_end_us, list(counted), counts)
        except (RedisError, OSError):
            return
        for items in all_items:
            # Draws of 2,000 items take 60 ms.
            await asyncio.to_thread(items.take_in, counts_of(items.names, found))

    def candidates(
        self, live: LiveGeneration, lookup: Lookup, share: float, shown: Set[Key]
    ) -> list[RecalledItem] | None:
        """The new items that a user is to see among those `shown`, with the probability of each; None: it cannot say.

        It is called when the others' items are merged, for it chooses among what they would not show.
        """
        items, allowed = self._items.get(live), self._tables.allowed(live, lookup, there=True)
        if items is None or allowed is None or not lookup.vectors:
            return None
        asked = f"{lookup.instance.user_id}/{moment_us(lookup.instance) // _SAME_US}"
        seed = xxhash.xxh3_64_intdigest(asked.encode())
        return items.chosen(_vectors(live, lookup), allowed, shown, share * lookup.depth, seed)

    def _read(self, manifest: Manifest) -> NewItems:
        table = open_channel(manifest, EXPLORE)
        if not isinstance(table, ExploreTable):
            raise IntegrityError(f"generation {manifest.id}: its channel {EXPLORE} is {type(table).__name__}")
        names, vectors = _vectors_of(manifest, table.items)
        self._all.add(items := NewItems(table, names, vectors))
        return items


def _vectors(live: LiveGeneration, lookup: Lookup) -> Float32Array:
    """The user's vectors that compare with the items', float32 [interests, dim]."""
    cascade = live.manifest.cascade
    if cascade is not None:
        return np.array([cascade.parts(vector)[0] for vector in lookup.vectors], np.float32)
    return np.array(lookup.vectors, np.float32)


def _vectors_of(manifest: Manifest, ids: Int64Array) -> tuple[list[Key], Float32Array]:
    """What callers call items, int64 [f], ascending, and their vectors, float32 [f, dim].

    Raises:
        UnavailableError: A file is not there, or cannot be read now.
        IntegrityError: One lacks an item, or is not what it should be.
    """
    name = ITEM_KEY if manifest.spec.id_type == "string" else ITEM_ID
    with reading_items(f"vectors of {manifest.id}"):
        columns, parts = list({ITEM_ID, name, VECTOR}), part_uris(manifest.item_vectors.uri)
        found = pa.concat_tables([read_rows(uri, columns, ids) for uri in parts])
        found = found.take(pc.sort_indices(found[ITEM_ID])).combine_chunks()
        if len(found) != len(ids):
            raise IntegrityError(f"vectors of {manifest.id}: {len(ids) - len(found)} new items have none")
        flat = pc.list_flatten(found[VECTOR]).to_numpy().astype(np.float32)
        return found[name].to_pylist(), flat.reshape(len(found), len(flat) // max(len(found), 1))
