"""Pieces of a dataset in the form that training and inference take them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories, kinds_of
from pagoda.data.history.history_state import Chosen, HistoryState
from pagoda.data.layout import INTERACTION_COLUMNS, features_of
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.errors import DataError

Int64Array = NDArray[np.int64]


def interaction_columns(spec: FeatureSpec) -> list[str]:
    """The columns of interactions that training reads: IDs, event, timestamp, context features and weights."""
    weights = [spec.positive_weight] if spec.positive_weight else []
    return [*INTERACTION_COLUMNS, *(feature.column for feature in features_of(spec, "interactions")), *weights]


def among(events: pa.Array, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which events are among `names`, bool [n]."""
    mask: NDArray[np.bool_] = pc.is_in(events, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    return mask


def catalogue_places(catalogue: Int64Array, items: Int64Array, dataset: Dataset) -> Int64Array:
    """Where each of `items` is in `catalogue`, int64 [n].

    Raises:
        DataError: One is not.
    """
    places = np.minimum(np.searchsorted(catalogue, items), len(catalogue) - 1)
    if (unknown := np.flatnonzero(catalogue[places] != items)).size:
        item = items[unknown[0]]
        raise DataError(f"{dataset.path}: an interaction has item {item}, which `items` lacks; see `pagoda data check`")
    return places


def no_histories(rows: int, length: int = 0, *, kinds: bool = False) -> Histories:
    """Histories without an event, in rectangles of `length`; `kinds`: as if they said which event each was."""
    empty, zeros = np.empty(0, np.int64), np.zeros(rows, np.int64)
    return Histories(length, empty, empty, zeros, zeros, np.empty(0, np.int16) if kinds else None)


def no_history_state(spec: FeatureSpec) -> HistoryState | None:
    """Histories of users who have done nothing yet; None where none are declared."""
    return HistoryState(spec.history.length, kinds=spec.embeds_events) if spec.history else None


def histories_at(
    dataset: Dataset,
    moment: datetime,
    state: HistoryState | None,
    since: datetime | None,
    whose: Chosen | None = None,
) -> HistoryState | None:
    """Bring histories up to a moment without learning anything; None where the dataset declares no history.

    Args:
        dataset: Has the interactions.
        moment: Up to which, exclusive.
        state: Histories as of `since`, or None to begin with empty ones.
        since: Where the interactions that `state` lacks begin; None for the dataset's first.
        whose: Of which users histories are wanted; None: of all.
    """
    spec = dataset.spec
    state = state or no_history_state(spec)
    if state is None:
        return None
    since = since or dataset.span().start
    if since < moment:
        for every in dataset.batches(Window(start=since, end=moment), events=spec.history_events):
            batch = every if whose is None else every.filter(pa.array(whose(every.column("user_id").to_numpy())))
            users, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
            times_us = batch.column("timestamp").cast(pa.int64()).to_numpy()
            state.push(users, items, times_us, kinds_of(batch.column("event"), spec))
    return state
