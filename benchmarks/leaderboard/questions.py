"""What users are asked: each once, for all that they chose in the window that is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.leaderboard.splits import SetSplit
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.evaluation.offline import ask
from pagoda.evaluation.positives import PositiveRows
from pagoda.evaluation.ranking import ExcludedPairs
from pagoda.evaluation.relevance import Relevant

_ALL = np.iinfo(np.int64).max


@dataclass(frozen=True)
class AskedUsers:
    """A row for each user."""

    dataset: Dataset
    catalogue: NDArray[np.int64]
    """int64 [items]: their IDs, ascending."""
    rows: PositiveRows
    """The first of what each user is to find: who, when, and in what context."""
    histories: Histories
    relevant: Relevant
    had: ExcludedPairs
    """What each row's user had before: left out."""


def ask_users(folder: Path, split: SetSplit) -> AskedUsers:
    """Gather what is asked of a split and what is known at that moment; its dataset is below `folder`.

    Raises:
        NothingToAskError: Nobody chose anything new.
    """
    dataset = Dataset.open(folder / split.name)
    found = ask(dataset, split.asked, protocol=split.protocol, limit=_ALL, seed=0)
    users, first = np.unique(found.rows.users, return_index=True)
    chosen = np.zeros(len(found.rows), np.bool_)
    chosen[first] = True
    # Rows stay in the order of time, so a user's place among them is not that among the sorted users.
    place = np.empty(len(users), np.int64)
    place[np.argsort(first)] = np.arange(len(users))
    row = place[np.searchsorted(users, found.rows.users)]
    size = len(found.catalogue)
    rows, items = np.divmod(np.unique(row * size + found.targets), size)
    kept = chosen[found.had.rows]
    return AskedUsers(
        dataset=dataset,
        catalogue=found.catalogue,
        rows=found.rows.take(chosen),
        histories=found.histories["live"].take(np.flatnonzero(chosen)),
        relevant=Relevant(rows, items, np.bincount(rows)),
        had=ExcludedPairs((np.cumsum(chosen) - 1)[found.had.rows[kept]], found.had.items[kept]),
    )
