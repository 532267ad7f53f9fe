"""Business rules inside the search: score = w · cosine - β · log p, for an item's weight w and share p of all clicks.

A collection of such a declaration stores `[w·v, s·(-log p - c)]` and is asked with `[u, β / s]`: the inner product is
the score but for β·c, the same for all items. s and c keep the last number small beside the others, since the index
links items that have a large inner product with each other; as it is, -log p would drown everything else.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.checks.limits import LARGEST_WEIGHT
from pagoda.data.spec import FeatureSpec
from pagoda.errors import DataError
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, SHARE, VECTOR, WEIGHT

SCALE = 1 / 64
CENTRE = 10.0
"""In nats: the share of an item in a catalogue of about 20,000."""
_PROBED_PENALTY = 0.01
_NEUTRAL = float(np.exp(-CENTRE))


def stored_dim(spec: FeatureSpec, dim: int) -> int:
    """Length of the vectors in a collection, of unit vectors of length `dim`."""
    return dim + (spec.rules is not None)


def stored_vectors(vectors: NDArray[np.float32], batch: pa.RecordBatch) -> NDArray[np.float32]:
    """What a collection holds for unit vectors [n, dim], from the rules' columns of their rows. [n, dim + 1]"""
    weights, shares = (batch[name].to_numpy(zero_copy_only=False) for name in (WEIGHT, SHARE))
    last = SCALE * (-np.log(shares) - CENTRE)
    return np.concatenate([vectors * weights[:, None], last[:, None]], axis=1).astype(np.float32)


def stored_batch(spec: FeatureSpec, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `item_vectors.parquet` as a collection stores them."""
    if spec.rules is None:
        return batch
    column = batch[VECTOR]
    unit = column.flatten().to_numpy().reshape(len(column), -1)
    return with_vectors(batch, stored_vectors(unit, batch)).drop_columns([WEIGHT, SHARE])


def with_vectors(batch: pa.RecordBatch, vectors: NDArray[np.float32]) -> pa.RecordBatch:
    """The same rows with other vectors, [n, dim]."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return batch.set_column(batch.schema.get_field_index(VECTOR), VECTOR, column)


def rule_columns(
    spec: FeatureSpec, items: pa.Table, shares: NDArray[np.float64] | None
) -> dict[str, NDArray[np.float64]]:
    """The rules' columns of items.

    Args:
        spec: The feature declaration, which has rules.
        items: n rows of `Dataset.items()`.
        shares: Share of all clicks of each item, above 0, [n]; None: popularity is not known.

    Raises:
        DataError: A weight is no positive number, or too large; the message names the item.
    """
    weights = np.ones(len(items))
    rules = spec.rules
    if rules is not None and rules.weight is not None:
        column = items[rules.weight].combine_chunks()
        weights = column.fill_null(1.0).to_numpy(zero_copy_only=False).astype(np.float64)
        # Written so that NaN counts as wrong.
        if (wrong := np.flatnonzero(~((weights > 0) & (weights <= LARGEST_WEIGHT)))).size:
            item = items[ITEM_KEY if spec.id_type == "string" else ITEM_ID][int(wrong[0])].as_py()
            raise DataError(
                f"item {item}, column {rules.weight!r}: {weights[wrong[0]]} is no weight; it must be positive, and "
                f"{LARGEST_WEIGHT:g} at most"
            )
    neutral = shares is None or rules is None or not rules.popularity
    return {WEIGHT: weights, SHARE: np.full(len(items), _NEUTRAL) if neutral else np.asarray(shares, np.float64)}


def query(vector: list[float], penalty: float) -> list[float]:
    """What a collection with rules is asked for a user's unit vector, with the penalty β."""
    return [*vector, penalty / SCALE]


def score(found: float, penalty: float) -> float:
    """The score w · cosine - β · log p of an inner product that was found with the penalty β."""
    return found + penalty * CENTRE


def probe_queries(spec: FeatureSpec, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Queries [q, dim] as a collection is probed: where popularity counts, every other one with a penalty."""
    if spec.rules is None:
        return queries
    last = np.zeros((len(queries), 1), np.float32)
    if spec.rules.popularity:
        last[1::2] = (spec.rules.penalty or _PROBED_PENALTY) / SCALE
    return np.concatenate([queries, last], axis=1)
