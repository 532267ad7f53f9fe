"""What a collection can hold of an item. A value beyond it is refused where it comes in, by the item's own ID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind
from pagoda.data.spec import Categorical, Feature, FeatureSpec, MultiValued

if TYPE_CHECKING:
    from pagoda.data.checks.values import RowBatch

MAX_TEXT_BYTES = 1024
"""Longest string in a filter column, and longest item ID. Milvus fixes it when a collection is created."""
MAX_VALUES = 256
"""Most values of one item in a multi-valued filter column; fixed at creation too."""
LARGEST_WEIGHT = 1e30
"""Vectors are float32: beyond 3.4e38 one is infinite, which Milvus refuses with all that comes in the same call."""
_SHORTER = f"a collection takes {MAX_TEXT_BYTES:,} bytes of UTF-8 at most; shorten it"


def no_positive_weights(weights: np.ndarray) -> np.ndarray:
    """Which numbers (float64 [n]) are no weights of positives, bool [n]: below 0, too large for a sum, or NaN."""
    return ~((weights >= 0) & (weights <= LARGEST_WEIGHT))


def check_item_ids(rows: RowBatch) -> None:
    """Report every item ID that a collection cannot hold, of a batch of items or of interactions."""
    keys = rows.batch["item_id"]
    if pa.types.is_string(keys.type):
        rows.tell(Kind.TOO_LONG, "item_id", _long(keys), _SHORTER)


def check_limits(rows: RowBatch, spec: FeatureSpec) -> None:
    """Report every value of a batch of items that a collection cannot hold."""
    check_item_ids(rows)
    for feature in spec.of("item"):
        if feature.filterable:
            _check_filterable(rows, feature)
    if spec.rules is not None and spec.rules.weight is not None:
        weights = pc.cast(rows.batch[spec.rules.weight], pa.float64()).fill_null(1.0).to_numpy(zero_copy_only=False)
        # Written so that NaN counts as wrong.
        bad = ~((weights > 0) & (weights <= LARGEST_WEIGHT))
        message = f"a weight must be positive, and {LARGEST_WEIGHT:g} at most; leave it null where there is none"
        rows.tell(Kind.WEIGHT, spec.rules.weight, bad, message, of_item=True)


def _check_filterable(rows: RowBatch, feature: Feature) -> None:
    values = rows.batch[feature.column]
    if isinstance(feature, Categorical):
        rows.tell(Kind.TOO_LONG, feature.column, _long(values), f"{_SHORTER}, or do not filter by it", of_item=True)
    elif isinstance(feature, MultiValued):
        present = values.values.is_valid()
        many = _counts(values, present) > MAX_VALUES
        message = f"an item has {MAX_VALUES} values of a filterable feature at most; leave some out"
        rows.tell(Kind.TOO_MANY, feature.column, many, message, of_item=True)
        long = _counts(values, pc.and_(present, _long(values.values))) > 0
        rows.tell(Kind.TOO_LONG, feature.column, long, f"one of the values: {_SHORTER}", of_item=True)


def why_no_default(feature: Feature) -> str | None:
    """Why the default of a filterable feature fits no collection; None when it does."""
    defaults: tuple[str, ...] = ()
    if isinstance(feature, Categorical):
        defaults = (feature.default,)
    elif isinstance(feature, MultiValued):
        defaults = feature.default
    if len(defaults) > MAX_VALUES:
        return f"feature {feature.name!r}: its default has {len(defaults)} values; a collection takes {MAX_VALUES}"
    if any(len(text.encode()) > MAX_TEXT_BYTES for text in defaults):
        return f"feature {feature.name!r}: its default is too long; {_SHORTER}"
    return None


def _long(texts: pa.Array) -> pa.BooleanArray:
    return pc.greater(pc.binary_length(texts), MAX_TEXT_BYTES).fill_null(False)


def _counts(lists: pa.ListArray, wanted: pa.BooleanArray) -> np.ndarray:
    """How many elements of each list `wanted`, over all their values, holds for; int64 [n]."""
    before = np.concatenate([[0], np.cumsum(wanted.to_numpy(zero_copy_only=False))])
    offsets = lists.offsets.to_numpy()
    found: np.ndarray = before[offsets[1:]] - before[offsets[:-1]]
    return np.where(lists.is_valid().to_numpy(zero_copy_only=False), found, 0)
