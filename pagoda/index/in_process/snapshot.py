"""A collection in memory, as it was at one moment, and exact search in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.index.base import Hits
from pagoda.index.in_process.collection_files import CollectionFiles
from pagoda.item_vectors.exact_search import Block, exact_top_k
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.matching import matching

_BLOCK = 65_536
"""Items compared at a time."""


@dataclass(frozen=True)
class Snapshot:
    """The items of a collection, by ascending ID."""

    ids: NDArray[np.int64]
    """[n]"""
    vectors: NDArray[np.float32]
    """[n, dim]"""
    columns: pa.Table
    """All others, of n rows."""

    @classmethod
    def of(cls, files: CollectionFiles) -> Snapshot:
        """Read what was inserted, with the overlay over it."""
        rows, overlay = files.inserted(), files.overlay()
        if len(overlay):
            stays = pc.invert(pc.is_in(rows[ITEM_ID], overlay[ITEM_ID].combine_chunks()))
            changed = overlay.filter(pc.is_valid(overlay[VECTOR])).cast(rows.schema)
            rows = pa.concat_tables([rows.filter(stays), changed])
        rows = rows.take(pc.sort_indices(rows[ITEM_ID])).combine_chunks()
        dim = rows.schema.field(VECTOR).type.list_size
        vectors = rows[VECTOR].combine_chunks().flatten().to_numpy().reshape(-1, dim)
        return cls(rows[ITEM_ID].to_numpy(), vectors, rows.drop_columns([ITEM_ID, VECTOR]))

    def search(
        self, queries: NDArray[np.float32], k: int, wanted: Filter, excluded: Sequence[int], *, keys: bool
    ) -> list[Hits]:
        """See `Collections.search`."""
        # As many more as must not come back: leaving them out before would copy the vectors of nearly all items.
        ids, scores = exact_top_k(queries, self._blocks(wanted), k + len(excluded))
        without = np.array(excluded, np.int64)
        return [self._hits(*found, k, without, keys=keys) for found in zip(ids, scores, strict=True)]

    def _blocks(self, wanted: Filter) -> Iterator[Block]:
        passes = matching(self.columns, wanted) if wanted else None
        for start in range(0, len(self.ids), _BLOCK):
            rows = slice(start, start + _BLOCK)
            ids, vectors = self.ids[rows], self.vectors[rows]
            yield (ids, vectors) if passes is None else (ids[passes[rows]], vectors[passes[rows]])

    def _hits(
        self, ids: NDArray[np.int64], scores: NDArray[np.float32], k: int, without: NDArray[np.int64], *, keys: bool
    ) -> Hits:
        kept = np.flatnonzero(~np.isin(ids, without))[:k]
        found = ids[kept]
        names = self.columns[ITEM_KEY].take(np.searchsorted(self.ids, found)).to_pylist() if keys else None
        return Hits(found, scores[kept], names)
