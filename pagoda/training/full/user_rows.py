"""Which users have an ID row of their own, where not all can."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig
from pagoda.config.training import TrainConfig
from pagoda.config.user_rows import UserRowsConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from pagoda.training.examples.shown_weights import counted, shown_columns
from pagoda.training.examples.survey import Survey
from pagoda.version_files.full import FullVersionFiles

Int64Array = NDArray[np.int64]


def own_rows(
    dataset: Dataset,
    window: Window,
    found: Survey,
    parent: FullVersionFiles | None,
    *,
    config: TrainConfig,
    forgotten: Int64Array,
) -> Int64Array:
    """The window's users that have a row of their own in this version, int64 [k] ascending: all, unless declared.

    Who has one keeps it. What is free goes to those with most positives in the window, of two alike to the lower ID.
    """
    if config.user_rows is None:
        return found.users
    kept = np.setdiff1d(parent.users.ids, forgotten) if parent else np.empty(0, np.int64)
    has = np.isin(found.users, kept)
    others, free = found.users[~has], max(config.user_rows.own - len(kept), 0)
    if len(others) > free:
        positives = _positives(dataset, window, others, config.positives)
        others = others[np.argsort(-positives, kind="stable")[:free]]
    return np.union1d(found.users[has], others)


def refuse_other_rows(declared: UserRowsConfig | None, parent: FullVersionFiles) -> None:
    """Refuse rows that do not go on from the parent's.

    Raises:
        ConfigError: Other users would share a row, or the parent has more rows of one user each.
    """
    before, shared = parent.config.user_rows, declared.shared if declared else 0
    if shared != len(parent.users.shared):
        raise ConfigError(
            f"user_rows.shared is {shared}, but the parent has {len(parent.users.shared)} shared rows, and of another "
            f"number users share other ones; set {len(parent.users.shared)}, or train a first version"
        )
    if declared and len(parent.users) > declared.own:
        raise ConfigError(
            f"user_rows.own is {declared.own}, but the parent has rows of {len(parent.users)} users"
            f"{'' if before else ', since it has no such limit'}; allow as many, or train a first version"
        )


def _positives(dataset: Dataset, window: Window, users: Int64Array, counting: PositivesConfig) -> Int64Array:
    """How many positives of the window each of `users` (int64 [n], ascending) has, int64 [n]."""
    counts, spec = np.zeros(len(users), np.int64), dataset.spec
    columns = ["user_id", "event", *shown_columns(counting)]
    for batch in dataset.batches(window, events=spec.positives, columns=columns):
        of = batch.column("user_id").to_numpy()[counted(batch, spec.positives, counting)[0]]
        place = np.searchsorted(users, of)
        known = users.take(place, mode="clip") == of
        counts += np.bincount(place[known], minlength=len(users))
    return counts
