"""What values may be, checked a batch at a time and vectorised; import and `pagoda data check` share it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.limits import LARGEST_WEIGHT, check_item_ids, check_limits, no_positive_weights
from pagoda.data.checks.problems import Kind, Problem, ProblemSink, add_rows
from pagoda.data.checks.zones import known_zones
from pagoda.data.layout import DAY_US, FEATURES_FILE, Table, features_of, key_column
from pagoda.data.spec import Feature, FeatureSpec

_FAR_US = 10 * 366 * DAY_US
"""No clock is so far ahead."""


@dataclass(frozen=True)
class RowBatch:
    """A batch whose columns have the types of `layout.schema_of`, and where it comes from."""

    batch: pa.RecordBatch
    file: str
    first_row: int
    """Row number of the first row in the file, counted from 1."""
    sink: ProblemSink
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of columns in the file, where they differ from Pagoda's: messages use the file's."""

    def tell(self, kind: Kind, column: str, bad: np.ndarray | pa.Array, message: str, *, of_item: bool = False) -> None:
        """Report the rows of `column` where `bad` holds; `of_item`: with the ID of the item that each is of."""
        mask = bad if isinstance(bad, np.ndarray) else bad.fill_null(False).to_numpy(zero_copy_only=False)
        add_rows(
            self.sink,
            Problem(kind, self.file, message, self.names.get(column, column)),
            self.first_row,
            self.batch[column],
            mask,
            items=self.batch["item_id"] if of_item else None,
        )


def check_values(rows: RowBatch, spec: FeatureSpec, table: Table) -> None:
    """Report every value of `rows` that breaks the contract of `table`."""
    if table == "interactions":
        check_key(rows, "user_id")
        check_key(rows, "item_id")
        check_item_ids(rows)
        _check_event(rows, spec)
        if "timestamp" in rows.batch.schema.names:  # An import may make moments up, once it knows their order.
            _check_timestamp(rows)
        if spec.positive_weight is not None:
            _check_positive_weight(rows, spec.positive_weight)
        if spec.receipts:
            _check_shown(rows)
    else:
        check_key(rows, key_column(table))
        if table == "items":
            check_limits(rows, spec)
    for feature in features_of(spec, table):
        _check_feature(rows, feature)
        if feature.name in spec.zone_features:
            _check_zone(rows, feature)


def check_key(rows: RowBatch, column: str) -> None:
    """IDs are neither null nor empty."""
    keys = rows.batch[column]
    rows.tell(Kind.NULL, column, keys.is_null(), "every row needs an ID; fill it in or remove the row")
    if pa.types.is_string(keys.type):
        rows.tell(Kind.EMPTY_ID, column, pc.equal(keys, ""), "every row needs an ID; fill it in or remove the row")


def check_known_items(rows: RowBatch, ids: np.ndarray, known: np.ndarray) -> None:
    """Every interaction's item is one of `known` (sorted int64); `ids` (int64 [n]) are the rows' items."""
    position = np.minimum(np.searchsorted(known, ids), max(len(known) - 1, 0))
    unknown = known[position] != ids if len(known) else np.ones(len(ids), bool)
    unknown &= rows.batch["item_id"].is_valid().to_numpy(zero_copy_only=False)
    rows.tell(Kind.UNKNOWN_ITEM, "item_id", unknown, "no such item in items; add the item or remove the interaction")


def _check_event(rows: RowBatch, spec: FeatureSpec) -> None:
    events = rows.batch["event"]
    rows.tell(Kind.NULL, "event", events.is_null(), "every interaction needs an event; fill it in or remove the row")
    known = sorted(spec.known_events)
    unknown = pc.and_(events.is_valid(), pc.invert(pc.is_in(events, pa.array(known))))
    message = f"known events are {known}; declare further ones as `events` in {FEATURES_FILE}"
    rows.tell(Kind.UNKNOWN_EVENT, "event", unknown, message)


def _check_timestamp(rows: RowBatch) -> None:
    moments = rows.batch["timestamp"]
    rows.tell(
        Kind.NULL, "timestamp", moments.is_null(), "every interaction needs a timestamp; fill it in or remove the row"
    )
    times = moments.cast(pa.int64())
    rows.tell(Kind.TIMESTAMP, "timestamp", pc.less(times, 0), "lies before 1970; is the unit or the clock wrong?")
    now_us = time.time_ns() // 1000
    far = pc.max(times).as_py() is not None and pc.max(times).as_py() > now_us + _FAR_US
    why = "were milliseconds read as seconds?" if far else "is the unit or the clock wrong?"
    rows.tell(Kind.FUTURE, "timestamp", pc.greater(times, now_us), f"lies in the future; {why}")


def _check_positive_weight(rows: RowBatch, column: str) -> None:
    bad = no_positive_weights(rows.batch[column].fill_null(1.0).to_numpy(zero_copy_only=False))
    message = f"a positive's weight is from 0 to {LARGEST_WEIGHT:g}; leave it null where there is none"
    rows.tell(Kind.WEIGHT, column, bad, message)


def _check_shown(rows: RowBatch) -> None:
    propensity, position = rows.batch["propensity"], rows.batch["position"]
    bad = pc.invert(pc.and_(pc.greater(propensity, 0), pc.less_equal(propensity, 1)))
    message = "a propensity is above 0 and at most 1; leave it null where there is none"
    rows.tell(Kind.WEIGHT, "propensity", bad, message)
    message = "positions count from 0; leave it null where there is none"
    rows.tell(Kind.WEIGHT, "position", pc.less(position, 0), message)


def _check_feature(rows: RowBatch, feature: Feature) -> None:
    values = rows.batch[feature.column]
    if feature.kind == "numeric":
        bad = pc.invert(pc.is_finite(values))
        rows.tell(Kind.NOT_FINITE, feature.column, bad, "a number must be finite; leave it null if it is unknown")
    elif feature.kind == "multi":
        bad = _holds(values, values.values.is_null())
        rows.tell(Kind.NULL, feature.column, bad, "a list holds a null; remove it from the list")
    elif feature.kind == "dense":
        length = pc.not_equal(pc.list_value_length(values), feature.length)
        rows.tell(Kind.LENGTH, feature.column, length, f"a vector of length {feature.length} is declared")
        bad = _holds(values, pc.invert(pc.is_finite(values.values).fill_null(False)))
        rows.tell(
            Kind.NOT_FINITE, feature.column, bad, "every number of a vector must be finite; leave it null if unknown"
        )


def _check_zone(rows: RowBatch, feature: Feature) -> None:
    zones = rows.batch[feature.column]
    unknown = pc.and_(zones.is_valid(), pc.invert(pc.is_in(zones, pa.array(sorted(known_zones())))))
    message = "no zone; write an IANA name such as Europe/Berlin, or leave it null"
    rows.tell(Kind.UNKNOWN_ZONE, feature.column, unknown, message)


def _holds(lists: pa.ListArray, bad: pa.BooleanArray) -> np.ndarray:
    """Which of the lists (bool [n]) have an element where `bad`, over all their values, holds."""
    counts = np.concatenate([[0], np.cumsum(bad.to_numpy(zero_copy_only=False))])
    offsets = lists.offsets.to_numpy()
    found: np.ndarray = counts[offsets[1:]] > counts[offsets[:-1]]
    found &= lists.is_valid().to_numpy(zero_copy_only=False)
    return found
