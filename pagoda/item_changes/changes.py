"""Item changes: checked before they enter the item log, folded to the last of each item, as rows of a table.

Imports no torch, since the service that takes changes uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pagoda.data.ids import hash_ids, whole_number
from pagoda.data.layout import features_of, schema_of
from pagoda.data.spec import FeatureSpec
from pagoda.errors import DataError, RequestError
from pagoda.item_changes.records import ItemChange, ItemRecord
from pagoda.item_vectors.columns import filter_column, key_column
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.scoring import rule_columns
from pagoda.model.features.raw_values import normal

ItemId = int | str


def upserted(spec: FeatureSpec, item: Mapping[str, Any], place: str) -> ItemChange:
    """The change that adds an item or replaces all of its features.

    Args:
        spec: The feature declaration in force.
        item: `item_id`, and raw features and the title by name; what is absent is missing.
        place: Where it is, for messages.

    Raises:
        RequestError: An ID or a value is of the wrong type or too long, or a feature is unknown; the message names the
            field below `place`.
    """
    given = {name: value for name, value in item.items() if name != "item_id"}
    features = features_of(spec, "items")
    titled = spec.title if spec.title and spec.title not in {feature.name for feature in features} else None
    title = given.pop(titled, None) if titled else None
    if title is not None and not isinstance(title, str):
        raise RequestError(f"{place}.{titled}: must be a string")
    weight = _popped_weight(spec, given, place)
    values = normal(features, given, place)
    change = ItemChange(
        item_id=_checked(spec, item.get("item_id"), place),
        features={**values, **weight, **({titled: title} if titled and title is not None else {})},
    )
    _fit_a_collection(spec, change, place)
    return change


def _popped_weight(spec: FeatureSpec, given: dict[str, Any], place: str) -> dict[str, float]:
    """The weight by its name, taken out of what was given; nothing where it is a feature too, or missing."""
    name = spec.rules.weight if spec.rules else None
    if name is None or name in {feature.name for feature in features_of(spec, "items")}:
        return {}
    value = given.pop(name, None)
    if value is None:
        return {}
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f"{place}.{name}: must be a number (got {value!r})")
    return {name: float(value)}


def removed(spec: FeatureSpec, item_id: Any, place: str) -> ItemChange:
    """The change that takes an item out of every collection.

    Raises:
        RequestError: The ID is not of the dataset's type.
    """
    return ItemChange(item_id=_checked(spec, item_id, place), features=None)


def item_id_of(spec: FeatureSpec, text: str) -> ItemId:
    """The ID that a text writes out, on a command line or as the key of a record.

    Raises:
        RequestError: It is no ID of the dataset's type.
    """
    if spec.id_type == "string":
        return text
    if (number := whole_number(text)) is None:
        raise RequestError(f"item {text!r}: IDs of this dataset are integers")
    return number


def _checked(spec: FeatureSpec, item_id: Any, place: str) -> ItemId:
    if spec.id_type == "string" and isinstance(item_id, str) and item_id:
        return item_id
    if spec.id_type == "int64" and isinstance(item_id, int) and not isinstance(item_id, bool):
        if -(2**63) <= item_id < 2**63:
            return item_id
        raise RequestError(f"{place}.item_id: must fit 64 bits")
    expected = "a string" if spec.id_type == "string" else "an integer"
    raise RequestError(f"{place}.item_id: must be {expected}, as the IDs of this dataset are (got {item_id!r})")


def _fit_a_collection(spec: FeatureSpec, change: ItemChange, place: str) -> None:
    table, ids = items_table(spec, [change]), pa.array([change.item_id])
    try:
        if spec.id_type == "string":
            key_column(ids)
        for filtered in filter_fields(spec):
            filter_column(filtered, table[filtered.name].combine_chunks(), ids)
        if spec.rules is not None:
            rule_columns(spec, table, None)
    except DataError as error:
        raise RequestError(f"{place}: {error}") from None


def items_table(spec: FeatureSpec, changes: Sequence[ItemChange]) -> pa.Table:
    """Items with their features as `Dataset.items()` gives them, in ascending order of ID.

    Raises:
        DataError: A feature has become one of another kind since an item was changed; the message names the item.
    """
    schema = schema_of(spec, "items")
    batch, others = fitting(changes, schema)
    if others:
        raise DataError(
            f"item {others[0].item_id!r}: was given features that are of another kind in this declaration; upsert it "
            "again, or remove it"
        )
    table = pa.Table.from_batches([batch])
    if spec.id_type == "string":
        keys = table["item_id"]
        table = table.set_column(0, "item_id", pa.array(hash_ids(keys))).append_column("item_key", keys)
    return table.sort_by("item_id")


def fitting(changes: Sequence[ItemChange], schema: pa.Schema) -> tuple[pa.RecordBatch, list[ItemChange]]:
    """The items as rows of a schema, and those that are none since a feature's kind is another one now."""
    try:
        return pa.RecordBatch.from_pylist([_row(change) for change in changes], schema), []
    except pa.ArrowException:
        others = [change for change in changes if not _fits(change, schema)]
    gone = {change.item_id for change in others}
    rows = [_row(change) for change in changes if change.item_id not in gone]
    return pa.RecordBatch.from_pylist(rows, schema), others


def _fits(change: ItemChange, schema: pa.Schema) -> bool:
    try:
        pa.RecordBatch.from_pylist([_row(change)], schema)
    except pa.ArrowException:
        return False
    return True


def _row(change: ItemChange) -> dict[str, Any]:
    return {"item_id": change.item_id, **(change.features or {})}


@dataclass
class ItemChanges:
    """What the item log says so far: the last change of each item, and when it was made."""

    head: int = 0
    _last: dict[ItemId, tuple[int, ItemChange]] = field(default_factory=dict)
    _described: dict[ItemId, ItemChange] = field(default_factory=dict)

    def take(self, records: Iterable[ItemRecord]) -> None:
        """Take in the records after `head`."""
        for record in records:
            self.head = record.number
            for change in record.changes:
                self._last[change.item_id] = (record.number, change)
                if change.features is not None:
                    self._described[change.item_id] = change

    def after(self, number: int) -> list[ItemChange]:
        """The last change of each item that a record after `number` changed."""
        return [change for when, change in self._last.values() if when > number]

    @property
    def described(self) -> list[ItemChange]:
        """The last features of every item that was ever given any; its interactions outlive its removal."""
        return list(self._described.values())


def int64_ids(spec: FeatureSpec, ids: Sequence[ItemId]) -> np.ndarray:
    """IDs as callers know them to int64 [n]; strings become their hashes."""
    return hash_ids([str(one) for one in ids]) if spec.id_type == "string" else np.array(ids, np.int64)
