"""What a full update takes over from its parent, grown by what its window brings; without one, what it begins with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.data.layout import features_of
from pagoda.data.window import Window
from pagoda.embeddings.shared_rows import shared_places
from pagoda.erasure.pending import NOBODY
from pagoda.model.encoder import Encoder
from pagoda.model.table_inputs import Int64Array, histories_at
from pagoda.training.examples.survey import Survey
from pagoda.training.full.user_rows import own_rows
from pagoda.training.retirement import last_seen, retire
from pagoda.training.share import WHOLE, Share
from pagoda.training.tables import TrainableTable
from pagoda.version_files.full import ITEMS, USERS, FullVersionFiles

Tables = tuple[TrainableTable, TrainableTable]
"""Of users and of items."""


def grown_encoder(dataset: Dataset, window: Window, found: Survey, items: pa.Table, before: Encoder | None) -> Encoder:
    """The encoder of before with the words that the window brings."""
    encoder = Encoder.fit(dataset.spec, dataset.users(found.users), items, before)
    context = [feature.column for feature in features_of(dataset.spec, "interactions")]
    if context:
        for batch in dataset.batches(window, events=dataset.spec.positives, columns=context):
            encoder.grow("user", pa.Table.from_batches([batch]))
    return encoder


def grown_tables(
    dataset: Dataset,
    found: Survey,
    window: Window,
    parent: FullVersionFiles | None,
    *,
    config: TrainConfig,
    forgotten: Int64Array,
    share: Share = WHOLE,
) -> tuple[Tables, Mapping[str, Int64Array]]:
    """Both tables with rows for what the window brings, and when the IDs of each were last seen; users of `share`."""
    generator = torch.Generator().manual_seed(config.seed)
    own = own_rows(dataset, window, found, parent, config=config, forgotten=forgotten)
    users, users_seen = _table(
        USERS, own, window, parent, config=config, generator=generator, forgotten=forgotten, share=share
    )
    used = found.catalogue[found.used]
    items, items_seen = _table(ITEMS, used, window, parent, config=config, generator=generator)
    if config.user_rows:
        users = users.with_places_for(found.users)
    return (users, items), {USERS: users_seen, ITEMS: items_seen}


def pace_of(found: Survey, parent: FullVersionFiles | None, config: TrainConfig) -> float:
    """What all learning rates are multiplied by, in (0, 1]; 1 for a first version, which has nothing to lose.

    AdamW and Adagrad divide by what gradients were like before, so one of a few users, whose positives are alike, makes
    as long a step as one of everybody. What it says of everybody else grows with the number of users, not of rows.
    """
    return 1.0 if parent is None else min(len(found.users) / config.optimiser.full_pace_users, 1.0)


def _table(
    name: str,
    ids: Int64Array,
    window: Window,
    parent: FullVersionFiles | None,
    *,
    config: TrainConfig,
    generator: torch.Generator,
    forgotten: Int64Array = NOBODY.ids,
    share: Share = WHOLE,
) -> tuple[TrainableTable, Int64Array]:
    """A table with rows for `ids`, and when each of its IDs was last seen; of `forgotten` ones, as if never before.

    Of IDs that are not of `share` there is neither.
    """
    mine = share.has(ids)
    own, others = ids[mine], ids[~mine]
    if parent is None:
        shared = config.user_rows.shared if name == USERS and config.user_rows else 0
        table = TrainableTable.first(own, config.row_dim, generator, shared=shared, elsewhere=others)
        return table, last_seen(table, own, window.end_us, None)
    published = parent.users if name == USERS else parent.items
    carried = config.optimiser.users_carried if name == USERS else 1.0
    known = np.isin(published.ids, forgotten, invert=True)
    kept = known & share.has(published.ids)
    warm = TrainableTable.of(published, np.float32(carried) * parent.squares(name), kept)
    before = warm.ids, parent.seen(name)[kept]
    if warm.shared and len(forgotten):
        # Of many users' clicks a share was theirs, and nobody can tell which.
        warm = warm.renewed(np.unique(shared_places(forgotten, warm.shared)), generator)
    table = warm.grown(own, generator, elsewhere=np.union1d(others, published.ids[known & ~kept]))
    seen = last_seen(table, own, window.end_us, before)
    return retire(table, seen, window.end_us, config.retire_after_days)


def histories_before(
    dataset: Dataset,
    window: Window,
    parent: FullVersionFiles | None,
    forgotten: Int64Array,
    share: Share = WHOLE,
) -> HistoryState | None:
    """What users of `share` did before the window."""
    whose = share.has if share.count > 1 else None
    if parent is None:
        return histories_at(dataset, window.start, None, None, whose)
    history = parent.history(whose)
    known = history.without(forgotten) if history and len(forgotten) else history
    return histories_at(dataset, window.start, known, parent.lineage.window.end, whose)
