"""A generation's items in memory: what they are called, and which of them may stand in an answer."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.channels.base import Allowed, BoolArray, Int64Array
from pagoda.data.spec import FeatureSpec
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, filter_fields
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.matching import matching
from pagoda.item_vectors.parts import part_uris
from serving.recall.channels.item_columns import read_columns, reading_items
from serving.users.keys import Key


class ServedItems:
    """All items that a generation has vectors for, with what requests filter by."""

    def __init__(self, spec: FeatureSpec, items: pa.Table, removed: Set[Key], changed: Mapping[Key, bytes]) -> None:
        """Keep the items.

        Args:
            spec: The feature declaration.
            items: item_id, [item_key] and the filter columns, in any order.
            removed: Items that are left out, as callers know them; it may change at any time.
            changed: Items that are no more what they were when the vectors were exported, likewise.
        """
        self._items = items.take(pc.sort_indices(items[ITEM_ID])).combine_chunks()
        self._ids: Int64Array = self._items[ITEM_ID].to_numpy()
        self._are_strings = spec.id_type == "string"
        self._keys = self._items[ITEM_KEY] if self._are_strings else self._items[ITEM_ID]
        self._removed, self._changed = removed, changed

    def names(self, ids: Int64Array) -> list[Key]:
        """What callers call items, int64 [n], all of which are there."""
        if not self._are_strings:
            return list[Key](ids.tolist())
        names: list[Key] = self._keys.take(pa.array(np.searchsorted(self._ids, ids))).to_pylist()
        return names

    def holds(self, ids: Int64Array) -> BoolArray:
        """Which of some items, int64 [n], are there, bool [n]."""
        return self._find(ids)[1]

    def allowed(self, wanted: Filter, excluded: NDArray[np.int64]) -> Allowed:
        """Says which items satisfy a filter, are not `excluded` (int64 [n]), and are not gone.

        An item that was changed since satisfies no filter: what it is now, the index alone knows.
        """

        def which(ids: Int64Array) -> BoolArray:
            places, found = self._find(ids)
            if len(excluded):
                found &= ~np.isin(ids, excluded)
            gone = self._removed | self._changed.keys() if wanted else self._removed
            if gone:
                names = self._keys.take(pa.array(places)).to_pylist()
                found &= np.fromiter((name not in gone for name in names), np.bool_, len(names))
            if wanted:
                found &= matching(self._items.take(pa.array(places)), wanted)
            return found

        return which

    def _find(self, ids: Int64Array) -> tuple[Int64Array, BoolArray]:
        places = np.minimum(np.searchsorted(self._ids, ids), max(len(self._ids) - 1, 0))
        return places, self._ids[places] == ids if len(self._ids) else np.zeros(len(ids), np.bool_)


def read_served_items(manifest: Manifest, removed: Set[Key], changed: Mapping[Key, bytes]) -> ServedItems:
    """Read a generation's items from the file of its vectors, without these.

    Raises:
        UnavailableError: A file is not there, or cannot be read now.
        IntegrityError: One is not what it should be.
    """
    columns = [ITEM_ID, *([ITEM_KEY] if manifest.spec.id_type == "string" else [])]
    columns += [field.name for field in filter_fields(manifest.spec)]
    with reading_items(f"items of {manifest.id}"):
        files = part_uris(manifest.item_vectors.uri)
        items = pa.concat_tables([read_columns(uri, columns) for uri in files])
        return ServedItems(manifest.spec, items, removed, changed)
