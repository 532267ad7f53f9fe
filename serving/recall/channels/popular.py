"""A generation's most popular items in memory, for when there is no index to search."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, filter_fields
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.matching import matching
from pagoda.item_vectors.parts import part_uris
from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.channels.item_columns import read_columns, reading_items
from serving.recall.fallback.steps import POPULAR
from serving.recall.generations.generation import LiveGeneration
from serving.recall.generations.per_version import PerVersion
from serving.recall.lookup import Lookup
from serving.users.keys import Key

KEPT = 20_000
"""Items in memory, so that a filter finds some: about 2 MB."""
_POPULARITY = "popularity.parquet"


class PopularItems:
    """Items by falling popularity, with what requests filter by."""

    def __init__(self, spec: FeatureSpec, items: pa.Table, removed: Set[Key] = frozenset()) -> None:
        """Keep items by falling popularity.

        Args:
            spec: The feature declaration.
            items: item_id, [item_key], clicks and the filter columns.
            removed: Items that are left out, as callers know them; it may change at any time.
        """
        self._items, self._removed = items, removed
        self._ids: NDArray[np.int64] = items[ITEM_ID].to_numpy()
        clicks = items["clicks"].to_numpy().astype(np.float64)
        self._scores = clicks / max(float(clicks.max(initial=0.0)), 1.0)
        self._names = (items[ITEM_KEY] if spec.id_type == "string" else items[ITEM_ID]).to_pylist()

    def __len__(self) -> int:
        return len(self._ids)

    def items(self, wanted: Filter, excluded: Sequence[int], k: int) -> list[RecalledItem]:
        """The k most popular items that satisfy a filter, without some by ID; fewer if fewer do.

        The score is the share of the most popular item's clicks.
        """
        chosen = matching(self._items, wanted)
        if excluded:
            chosen &= ~np.isin(self._ids, np.array(excluded, np.int64))
        places = (place for place in np.flatnonzero(chosen).tolist() if self._names[place] not in self._removed)
        return [
            {"item_id": self._names[place], "score": float(self._scores[place])}
            for place in itertools.islice(places, k)
        ]


def load_popular(manifest: Manifest, removed: Set[Key] = frozenset()) -> PopularItems:
    """Read the list of a generation: its version's popularity, and the filter columns of its item vectors.

    Args:
        manifest: The generation's.
        removed: As for `PopularItems`.

    Raises:
        UnavailableError: A file is not there, or cannot be read now.
        IntegrityError: One is not what it should be.
    """
    with reading_items(f"popular items of {manifest.id}"):
        clicks = read_columns(f"{manifest.base.uri.rstrip('/')}/{_POPULARITY}").slice(0, KEPT)
        columns = [ITEM_ID, *([ITEM_KEY] if manifest.spec.id_type == "string" else [])]
        columns += [field.name for field in filter_fields(manifest.spec)]
        popular, parts = clicks[ITEM_ID].combine_chunks(), []
        for uri in part_uris(manifest.item_vectors.uri):
            part = read_columns(uri, columns)
            parts.append(part.filter(pc.is_in(part[ITEM_ID], popular)))
        items = pa.concat_tables(parts).combine_chunks()
        rank = pc.index_in(items[ITEM_ID], popular)
        items = items.append_column("clicks", clicks["clicks"].take(rank))
        return PopularItems(manifest.spec, items.take(pc.sort_indices(rank)), removed)


class PopularChannel(Channel):
    """The popular items of live generations; stands in where no other channel answers."""

    name = "popular"
    stands_in = POPULAR

    def __init__(self, removed: Set[Key]) -> None:
        """Hold nothing yet.

        Args:
            removed: As for `PopularItems`.
        """
        self._lists = PerVersion(lambda manifest: load_popular(manifest, removed), "has no answer without its index")

    async def warm(self, live: LiveGeneration) -> None:
        """Read a generation's list, unless that was done; see `PerVersion.warm`. Without it the channel is silent."""
        await self._lists.warm(live)

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """See `Channel.candidates`: the most popular items that satisfy the filter."""
        if (popular := self._lists.get(live)) is None:
            raise UnavailableError(f"generation {live.id}: its popular items could not be read", part="popular items")
        one = lookup.instance
        return popular.items(lookup.wanted, live.seen(one, lookup.stored), lookup.depth)
