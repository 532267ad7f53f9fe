"""A window's interactions as incremental updates learn them: in time order, each once, histories going on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.history.histories import Histories, kinds_of
from pagoda.data.history.history_files import PastEvents
from pagoda.data.layout import INTERACTION_COLUMNS
from pagoda.data.window import Window
from pagoda.model.table_inputs import among, catalogue_places, interaction_columns, no_histories, no_history_state
from pagoda.model.user_moments import UserMoments, user_moments
from pagoda.training.examples.positive_weights import relative_weights
from pagoda.training.examples.shown_weights import counted, multiplied, shown_columns
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.version_files.incremental import IncrementalFiles, chain_of

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class WindowHistories:
    """Histories of the window's users as of its end, in the form of `StateRows`."""

    users: Int64Array
    items: Int64Array
    times_us: Int64Array
    counts: Int64Array
    kinds: Int64Array | None = None


@dataclass(frozen=True)
class Examples:
    """n positives in time order; memory follows the window."""

    moments: UserMoments
    """Who chose, and when; users and items by ID."""
    items: Int64Array
    """int64 [n]: what, as places among the base's items."""
    weights: NDArray[np.float32] | None
    """float32 [n]: what each weighs in the loss, 1 on average; None: all alike."""
    past: WindowHistories
    interactions: int
    duplicates: int

    def __len__(self) -> int:
        return len(self.items)


def read_examples(base: FrozenBase, window: Window, parent: IncrementalFiles | None) -> Examples | None:
    """Read a window; None when it holds no positive.

    Raises:
        DataError: An interaction has an item that the dataset lacks, or a weight that is none.
    """
    spec = base.dataset.spec
    events = {*spec.positives, *spec.history_events}
    columns = [*interaction_columns(spec), *shown_columns(base.config.positives)]
    stream = base.dataset.batches(window, events=events, columns=columns)
    batches = list(stream)
    if not any(len(counted(batch, spec.positives, base.config.positives)[0]) for batch in batches):
        return None
    table = pa.Table.from_batches(batches).combine_chunks()
    rows = distinct(table)
    return _examples(base, table.take(rows), parent, window, table.num_rows)


def distinct(table: pa.Table) -> Int64Array:
    """The first of every group of rows with one user, item, event and timestamp; int64, ascending."""
    numbered = table.select(list(INTERACTION_COLUMNS)).append_column("row", pa.array(np.arange(table.num_rows)))
    first = numbered.group_by(list(INTERACTION_COLUMNS), use_threads=False).aggregate([("row", "min")])
    return np.sort(first.column("row_min").to_numpy())


def _examples(
    base: FrozenBase, table: pa.Table, parent: IncrementalFiles | None, window: Window, found: int
) -> Examples:
    spec, dataset = base.dataset.spec, base.dataset
    users, items = (table.column(name).to_numpy() for name in ("user_id", "item_id"))
    times_us = table.column("timestamp").cast(pa.int64()).to_numpy()
    kinds = table.column("event").combine_chunks()
    positive, shown = counted(table, spec.positives, base.config.positives)
    chosen = table.take(positive)
    rows = _Rows(users, items, times_us, among(kinds, spec.history_events), kinds_of(kinds, spec))
    histories, past = _histories(base, parent, window, rows)
    moments = user_moments(
        dataset,
        base.encoder,
        users[positive],
        times_us[positive],
        histories=histories.take(positive),
        context=chosen,
    )
    return Examples(
        moments=moments,
        items=catalogue_places(base.item_ids, items[positive], dataset),
        weights=multiplied(relative_weights(chosen, dataset), shown),
        past=past,
        interactions=found,
        duplicates=found - table.num_rows,
    )


class _Rows(NamedTuple):
    """What `HistoryState.advance` takes of a window."""

    users: Int64Array
    items: Int64Array
    times_us: Int64Array
    enters: NDArray[np.bool_]
    kinds: NDArray[np.int16] | None


def _histories(
    base: FrozenBase, parent: IncrementalFiles | None, window: Window, rows: _Rows
) -> tuple[Histories, WindowHistories]:
    """Each row's history as of its moment, and those of all users of the window as of its end."""
    state, users = no_history_state(base.dataset.spec), np.unique(rows.users)
    if state is None:
        nothing = np.empty((0, 0), np.int64)
        return no_histories(len(rows.users)), WindowHistories(nothing.ravel(), nothing, nothing, nothing.ravel())
    before = histories_before(base, parent, users).in_time_order()
    state.push(before.users, before.items, before.times_us, before.kinds)
    histories = state.advance(*rows)
    padded = state.read(users, np.full(len(users), window.end_us)).padded()
    return histories, WindowHistories(users, padded.items, padded.times_us, padded.mask.sum(1), padded.kinds)


def histories_before(base: FrozenBase, parent: IncrementalFiles | None, users: Int64Array) -> PastEvents:
    """The last events of `users` (int64 [n], ascending) as of the parent's watermark.

    The newest incremental that saw a user has that user's whole history; of one that none saw, the base has it.
    """
    found: list[PastEvents] = []
    rest = users
    for link in chain_of(parent):
        position, known = link.history_users.find(rest)
        at = position[known]
        items, times, counts = (array[at] for array in (link.rows.items, link.rows.times_us, link.rows.counts))
        kept = np.arange(items.shape[1]) >= items.shape[1] - counts[:, None]
        kinds = None if link.rows.kinds is None else link.rows.kinds[at][kept]
        found.append(PastEvents(np.repeat(rest[known], counts), items[kept], times[kept], kinds))
        rest = rest[~known]
    found.append(base.histories.of(rest))
    return PastEvents.stack(found)
