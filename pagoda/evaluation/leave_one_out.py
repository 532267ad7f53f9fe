"""Leave-one-out: every user asked for the one item that was held back, as benchmarks of sequential recommendation do.

Full ranking among all items, those that the user had before left out. With one item to find, the hit rate is the
recall, and NDCG is 1 / log2(rank + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.metrics import ndcg, recall
from pagoda.evaluation.offline import ask
from pagoda.evaluation.opened_towers import OpenedTowers, scorer_of
from pagoda.evaluation.ranking import rank
from pagoda.evaluation.report import Estimate

_ALL = np.iinfo(np.int64).max


@dataclass(frozen=True)
class LeftOut:
    """How the users' last items were found."""

    users: int
    """Asked, one item each."""
    repeats: int
    """Not asked: the item is one that the user had before."""
    metrics: dict[str, Estimate]
    """`hr@10`, `ndcg@10` …, each with its 95 % interval over users."""
    user_ids: NDArray[np.int64]
    """int64 [users]: who was asked."""
    values: dict[str, NDArray[np.float64]]
    """`metrics` of each of them, float64 [users]."""


def leave_one_out(towers: OpenedTowers, dataset: Dataset, window: Window, *, at: Sequence[int] = (10,)) -> LeftOut:
    """Ask every user for their last positive of `window`.

    Args:
        towers: A version that learned nothing from `window` on.
        dataset: Holds the window's positives and everything before them.
        window: Holds what was left out, see `pagoda.data.imports.sequences`.
        at: Values of k.

    Raises:
        DataError: The window holds no positive that can be asked.
    """
    asked = ask(dataset, window, protocol="last", limit=_ALL, seed=0)
    rows = asked.rows
    vectors = towers.user_vectors(rows.users, rows.times_us, asked.histories["live"], rows.context)
    ranks = rank(scorer_of(towers, vectors, towers.item_vectors(), asked.seen), asked.targets, asked.seen)
    columns = {f"{name}@{k}": metric(ranks, k) for k in at for name, metric in (("hr", recall), ("ndcg", ndcg))}
    found = resample(np.stack(list(columns.values()), axis=1), rows.users)
    return LeftOut(
        users=len(rows),
        repeats=asked.repeats,
        metrics={
            name: Estimate(value=float(found.means[place]), low=low, high=high)
            for place, name in enumerate(columns)
            for low, high in [interval(found.samples[:, place])]
        },
        user_ids=rows.users,
        values=columns,
    )
