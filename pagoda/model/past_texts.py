"""What users' last events said before moments, read from a dataset: what the online store keeps of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.history.history_state import HistoryState
from pagoda.data.spec import PAST_CHARACTERS, PastText
from pagoda.data.window import Window, from_us

Int64Array = NDArray[np.int64]
_PART_ROWS = 1 << 14


class _Said(NamedTuple):
    """Events of histories in time order."""

    users: Int64Array
    times_us: Int64Array
    texts: pa.ChunkedArray
    """Null where an event says nothing."""


def past_texts(
    dataset: Dataset, feature: PastText, histories: Histories, user_ids: Int64Array, times_us: Int64Array
) -> pa.ChunkedArray:
    """The texts of each user's last events strictly before each moment, the newest first.

    They are of what the history has: where that was frozen earlier, or begins anew, nothing later or older is told.

    Reads the events of histories from `feature.hours` before the first moment on; memory follows those of these users.

    Args:
        dataset: Has the events.
        feature: Says which count.
        histories: Of each user as of the moment.
        user_ids: int64 [n].
        times_us: int64 [n].

    Returns:
        string [n], texts with a space between; null where there is none.
    """
    if not (histories.ends > histories.starts).any():
        return pa.chunked_array([pa.nulls(len(user_ids), pa.string())])
    said = _said(dataset, feature, user_ids, times_us)
    first_us, last_us = _reach(histories)
    events = _histories(said, histories.length, user_ids, last_us + 1)
    first_us = np.maximum(first_us, times_us - feature.span_us)
    parts = (slice(start, start + _PART_ROWS) for start in range(0, len(user_ids), _PART_ROWS))
    joined = [_joined(said.texts, feature, events.take(rows), first_us[rows]) for rows in parts]
    return pa.chunked_array(joined, pa.string())


def _said(dataset: Dataset, feature: PastText, user_ids: Int64Array, times_us: Int64Array) -> _Said:
    """What counts for some of the users at some of the moments."""
    users, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    texts = [pa.array([], pa.string())]
    first, last = int(times_us.min()), int(times_us.max())
    start = max(first - feature.span_us, dataset.span().start_us)
    if start < last:
        window, columns = Window(start=from_us(start), end=from_us(last)), ["user_id", "timestamp", feature.of]
        wanted = np.unique(user_ids)
        for batch in dataset.batches(window, events=dataset.spec.history_events, columns=columns):
            ours = batch.filter(pa.array(np.isin(batch.column("user_id").to_numpy(), wanted)))
            users.append(ours.column("user_id").to_numpy())
            times.append(ours.column("timestamp").cast(pa.int64()).to_numpy())
            texts.append(pc.utf8_slice_codeunits(ours.column(feature.of), 0, PAST_CHARACTERS))
    return _Said(np.concatenate(users), np.concatenate(times), pa.chunked_array(texts))


def _histories(said: _Said, length: int, user_ids: Int64Array, times_us: Int64Array) -> Histories:
    """The last events of each user as of each moment, by their places among all."""
    events = len(said.users)
    users, times = np.concatenate([said.users, user_ids]), np.concatenate([said.times_us, times_us])
    order = np.argsort(times, kind="stable")
    places = np.arange(len(order))
    histories = HistoryState(length).advance(users[order], places[order], times[order], order < events)
    back = np.empty_like(order)
    back[order] = places
    return histories.take(back[events:])


def _reach(histories: Histories) -> tuple[Int64Array, Int64Array]:
    """From when until when the events of each history are, int64 [n] each; of an empty one, no moment is between."""
    some = histories.ends > histories.starts
    first_us, last_us = np.ones(len(some), np.int64), np.zeros(len(some), np.int64)
    first_us[some] = histories.times_us[histories.starts[some]]
    last_us[some] = histories.times_us[histories.ends[some] - 1]
    return first_us, last_us


def _joined(texts: pa.ChunkedArray, feature: PastText, events: Histories, first_us: Int64Array) -> pa.Array:
    past = events.padded()
    says = np.asarray(pc.fill_null(pc.greater(pc.utf8_length(texts), 0), False), bool)
    counts = past.mask & (past.times_us >= first_us[:, None])
    if len(says):
        counts &= says[past.items]
    newest_first = counts[:, ::-1]
    chosen = newest_first & (np.cumsum(newest_first, 1) <= feature.last)
    offsets = np.concatenate([[0], np.cumsum(chosen.sum(1))]).astype(np.int32)
    said = texts.take(pa.array(past.items[:, ::-1][chosen])).combine_chunks()
    lists = pa.ListArray.from_arrays(pa.array(offsets), said)
    return pc.if_else(pa.array(np.diff(offsets) > 0), pc.binary_join(lists, " "), pa.scalar(None, pa.string()))
