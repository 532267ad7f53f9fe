"""A generation's items in memory: what they are called, and which of them may stand in an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.channels.base import Allowed, BoolArray, Int64Array, anything
from pagoda.data.layout import schema_of
from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.errors import DataError
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.columns import filter_column
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, filter_fields
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.matching import matching
from pagoda.item_vectors.parts import part_uris
from serving.http.features import read_ids
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
            changed: Features of items that were added or changed, as JSON, likewise; they stand before exported ones.
        """
        self._filters = {field.name: field for field in filter_fields(spec)}
        self._types = {name: schema_of(spec, "items").field(name).type for name in self._filters}
        self._items = items.take(pc.sort_indices(items[ITEM_ID])).combine_chunks()
        self._ids = SortedIds(self._items[ITEM_ID].to_numpy())
        self._spec, self._are_strings = spec, spec.id_type == "string"
        self._keys = self._items[ITEM_KEY] if self._are_strings else self._items[ITEM_ID]
        self._removed, self._changed = removed, changed

    def names(self, ids: Int64Array) -> list[Key]:
        """What callers call items, int64 [n], all of which are there."""
        if not self._are_strings:
            return list[Key](ids.tolist())
        names: list[Key] = self._keys.take(pa.array(self._ids.find(ids)[0])).to_pylist()
        return names

    def holds(self, ids: Int64Array) -> BoolArray:
        """Which of some items, int64 [n], are there, bool [n]."""
        return self._ids.find(ids)[1]

    def count(self, wanted: Filter) -> tuple[int, int]:
        """How many items satisfy a filter as they are now, and how many there are; those that are gone are neither."""
        matches = matching(self._items, wanted)
        told = list({*self._removed, *self._changed})
        there = self.holds(ids := read_ids(self._spec, told, "items"))
        own = ids[there]
        matches[self._ids.find(own)[0]] = self._stand(own, wanted)
        gone = np.count_nonzero(~_none_of(self._removed, self.names(own)))
        return int(np.count_nonzero(matches)), len(matches) - int(gone)

    def allowed(self, wanted: Filter, excluded: Set[int], *, there: bool = False) -> Allowed:
        """Says which items satisfy a filter as they are now, are not `excluded` by ID, and are not gone.

        Args:
            wanted: The filter.
            excluded: IDs.
            there: No item is asked about but those that are there. Then most requests have none looked up: of a million
                that takes longer than all else that a channel does.
        """

        if there and not (excluded or self._removed or wanted):
            return anything

        def which(ids: Int64Array) -> BoolArray:
            found = anything(ids) if there else self.holds(ids)
            if excluded:
                found &= _none_of(excluded, ids.tolist())
            if not (self._removed or wanted):
                return found
            found[found] = self._stand(ids[found], wanted)
            return found

        return which

    def _stand(self, ids: Int64Array, wanted: Filter) -> BoolArray:
        """Which of some items that are there, int64 [n], are not gone and satisfy a filter, bool [n]."""
        names = self.names(ids)
        found = _none_of(self._removed, names)
        if wanted:
            matches = matching(self._items.take(pa.array(self._ids.find(ids)[0])), wanted)
            if anew := [place for place, name in enumerate(names) if name in self._changed]:
                matches[anew] = self._match_now([names[place] for place in anew], wanted)
            found &= matches
        return found

    def _match_now(self, names: Sequence[Key], wanted: Filter) -> BoolArray:
        """Which of some changed items satisfy a filter by what was last said of them, bool [n]."""
        said = [orjson.loads(self._changed.get(name, b"{}")) for name in names]
        columns, ids = {}, pa.array(names)
        try:
            for condition in wanted:
                raw = pa.array([one.get(condition.field) for one in said], self._types[condition.field])
                columns[condition.field] = filter_column(self._filters[condition.field], raw, ids)
        except (pa.ArrowException, DataError):  # Said when the feature was of another kind.
            return np.zeros(len(names), np.bool_)
        return matching(pa.table(columns), wanted)


def _none_of(those: Set[Key], names: Sequence[Key]) -> BoolArray:
    """Which are not among `those`, bool [n]."""
    return ~np.fromiter(map(those.__contains__, names), np.bool_, len(names))


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
