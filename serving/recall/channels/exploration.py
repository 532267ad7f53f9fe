"""The channel `explore` in recall: new items near to the user, chosen by chance, between the others' items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakSet

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from redis.exceptions import RedisError

from pagoda.channels.base import Allowed, BoolArray, Float32Array, Int64Array, Ranked, anything
from pagoda.channels.explore import Explored, ExploreTable, Lot, draws_of, explored
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
from serving.recall.servers.company import accompanied
from serving.turns import Turns
from serving.users.keys import Key

_LOOK_SECONDS = 5.0
_AT_ONCE = 16
"""Users whose arrays stay in the processor's cache."""
NO_DRAWS: Float32Array = np.empty((0, 0), np.float32)
NO_SIMILARITY: Float32Array = np.empty(0, np.float32)
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


class NearAsk(NamedTuple):
    """Whose new items are wanted, before it is known what others show."""

    vectors: Float32Array
    """The user's, [interests, dim]."""
    allowed: Allowed
    others: int
    """Items that others may show, at most."""


class Near(NamedTuple):
    """New items near to a user."""

    places: Int64Array
    """Of those that may be explored, in any order: more than are chosen among, for some of them are shown anyway."""
    similarity: Float32Array
    """Of all new items, [f]; who chooses may write into it."""


class ChoiceAsk(NamedTuple):
    """What is to be chosen for one user."""

    near: Near
    shown: Set[Key]
    """Items that others show, which are not explored."""
    budget: float
    """Places in the mean."""
    seed: int
    """See `Lot`."""


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

    def near(self, asks: Sequence[NearAsk]) -> list[Near]:
        """For each ask, those that may be explored and are nearest to any of the user's vectors.

        They are as many as the section says, and as many more as others may show; fewer where there are no more.
        """
        if not self.names:
            return [Near(self._all, NO_SIMILARITY)] * len(asks)
        interests = [len(one.vectors) for one in asks]
        similarity = np.concatenate([one.vectors for one in asks]) @ self._vectors.T
        if len(similarity) > len(asks):
            similarity = np.maximum.reduceat(similarity, np.cumsum([0, *interests[:-1]]), axis=0)
        similarity += self.beliefs.handicap
        return [Near(self._near(own, one), own) for own, one in zip(similarity, asks, strict=True)]

    def _near(self, similarity: Float32Array, ask: NearAsk) -> Int64Array:
        count = self._nearest + ask.others
        if ask.allowed is anything:
            return _greatest(similarity, count)
        for among in (_greatest(similarity, 2 * count), self._all):  # Most may, so few are asked about.
            places = among[ask.allowed(self.table.items[among])]
            if len(places) >= count:
                break
        return places

    def chosen(self, asks: Sequence[ChoiceAsk]) -> list[list[RecalledItem]]:
        """What chance chooses for each ask of the nearest that others do not show, with probabilities: `explored`."""
        found = [self._free(one.near, one.shown) for one in asks]
        choices = [Lot(free.ids, one.budget, one.seed) for free, one in zip(found, asks, strict=True)]
        return list(map(self._named, found, explored(self.beliefs.draws, choices, self.table.declared)))

    def _free(self, near: Near, shown: Set[Key]) -> Ranked:
        if also := [self._places[name] for name in self._places.keys() & shown]:
            near.similarity[also] = -np.inf
        scores = near.similarity[near.places]
        nearest = _greatest(scores, self._nearest)
        places, scores = near.places[nearest], scores[nearest]
        there = scores > -np.inf
        return Ranked(places, scores) if there.all() else Ranked(places[there], scores[there])

    def _named(self, found: Ranked, explored: Explored) -> list[RecalledItem]:
        numbers, propensities = explored
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
        # Computed in the event loop, as the tower in this process is.
        self._near: Turns[NewItems, NearAsk, Near] = Turns(NewItems.near, most=_AT_ONCE)
        self._choices: Turns[NewItems, ChoiceAsk, list[RecalledItem]] = Turns(NewItems.chosen, most=_AT_ONCE)

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

    async def near(self, live: LiveGeneration, lookup: Lookup) -> Near | None:
        """The new items that are near to a user; None: it cannot say.

        Users who ask in one turn of the event loop are answered together.
        """
        items, allowed = self._items.get(live), self._tables.allowed(live, lookup, there=True)
        if items is None or allowed is None or not lookup.vectors:
            return None
        ask = NearAsk(_vectors(live, lookup), allowed, lookup.depth)
        return await self._near.ask(items, ask) if accompanied() else items.near([ask])[0]

    async def chosen(
        self, live: LiveGeneration, lookup: Lookup, near: Near, share: float, shown: Set[Key]
    ) -> list[RecalledItem] | None:
        """What a user is to see of them among those `shown`, with the probability of each; None: it cannot say.

        It is called when the others' items are merged, for it chooses among what they would not show. Users who ask in
        one turn of the event loop are answered together.
        """
        if (items := self._items.get(live)) is None:
            return None
        asked = f"{lookup.instance.user_id}/{moment_us(lookup.instance) // _SAME_US}"
        seed = xxhash.xxh3_64_intdigest(asked.encode())
        ask = ChoiceAsk(near, shown, share * lookup.depth, seed)
        return await self._choices.ask(items, ask) if accompanied() else items.chosen([ask])[0]

    def _read(self, manifest: Manifest) -> NewItems:
        table = open_channel(manifest, EXPLORE)
        if not isinstance(table, ExploreTable):
            raise IntegrityError(f"generation {manifest.id}: its channel {EXPLORE} is {type(table).__name__}")
        names, vectors = _vectors_of(manifest, table.items)
        self._all.add(items := NewItems(table, names, vectors))
        return items


def _greatest(numbers: Float32Array, count: int) -> Int64Array:
    """Where the greatest so many stand, in any order."""
    return numbers.argpartition(-count)[-count:] if count < len(numbers) else np.arange(len(numbers))


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
