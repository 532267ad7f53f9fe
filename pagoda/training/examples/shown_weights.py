"""What positives count by what showed their items: the arm and the channels that receipts name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig
from pagoda.model.table_inputs import among

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


def shown_columns(config: PositivesConfig) -> list[str]:
    """The columns of interactions that say what showed an item, as far as it matters."""
    return [*(["arm"] if config.by_arm else []), *(["channels"] if config.by_channel else [])]


def counted(
    rows: pa.RecordBatch | pa.Table, events: tuple[str, ...], config: PositivesConfig
) -> tuple[Int64Array, Float64Array | None]:
    """Which interactions count, and how much.

    Args:
        rows: With their events and `shown_columns`.
        events: Those that count at all.
        config: What they count by arm and channel. Where nothing is known it is 1; an item that several channels found
            counts as that of them which counts most.

    Returns:
        int64 [n], ascending: the rows that count more than nothing; float64 [n]: what each does, None for 1.
    """
    found = np.flatnonzero(among(_column(rows, "event"), events))
    if not shown_columns(config):
        return found, None
    weights = np.ones(rows.num_rows)
    if config.by_arm:
        weights *= _named(_column(rows, "arm"), config.by_arm)
    if config.by_channel:
        weights *= _most(_column(rows, "channels"), config.by_channel)
    found = found[weights[found] > 0]
    return found, weights[found]


def multiplied(weights: NDArray[np.float32] | None, shown: Float64Array | None) -> NDArray[np.float32] | None:
    """Both, each float [n]; None: all 1."""
    if shown is None:
        return weights
    return (shown if weights is None else weights * shown).astype(np.float32)


def _column(rows: pa.RecordBatch | pa.Table, name: str) -> pa.Array:
    column = rows[name]
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _named(values: pa.Array, given: Mapping[Any, float]) -> Float64Array:
    """What `given` says of each value, 1 of others and of nulls."""
    place = pc.index_in(values, pa.array(list(given), pa.string())).fill_null(len(given)).to_numpy()
    named: Float64Array = np.array([*given.values(), 1.0])[place]
    return named


def _most(lists: pa.Array, given: Mapping[str, float]) -> Float64Array:
    """The largest of what `given` says of each list's values."""
    most = np.full(len(lists), -np.inf)
    np.maximum.at(most, pc.list_parent_indices(lists).to_numpy(), _named(pc.list_flatten(lists), given))
    return np.where(np.isneginf(most), 1.0, most)
