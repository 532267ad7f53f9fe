"""Which items users had together: what the channel `item_to_item` and an evaluation's baselines are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.data.dataset import Dataset
from pagoda.data.ids import user_places
from pagoda.data.window import Window

Int64Array = NDArray[np.int64]
LONGEST = 1_000
"""Items of a user, the newest: of a robot with a hundred thousand, every pair would be looked at."""
_BLOCK = 1 << 21
"""Pairs counted at once: 100 MB while they are sorted."""


@dataclass(frozen=True)
class UserItems:
    """Who had what before a moment."""

    matrix: sparse.csr_array
    """float32 [users, items], 1 where a user had an item, its columns being the items that anybody had."""
    places: Int64Array
    """int64 [items of the matrix]: their positions in the catalogue, ascending."""
    share: float
    """Of the users that were read."""

    def together(self) -> Iterator[tuple[slice, sparse.csr_array]]:
        """How many users had two items: rows of the symmetric matrix [items, items], in blocks.

        A block is one of `blocks` by pairs, counted with repetition; so memory follows neither the catalogue nor the
        log.
        """
        lengths, columns = self.matrix.sum(axis=1), self.matrix.tocsc()
        for rows in blocks(self.matrix.T @ lengths):
            yield rows, (columns[:, rows].T @ self.matrix).tocsr()


def blocks(costs: NDArray[Any]) -> Iterator[slice]:
    """Consecutive entries, as many at a time as cost at most `_BLOCK` between them (one entry may alone).

    Args:
        costs: [n], at least 0: in pairs that are held at once.
    """
    until, start = np.cumsum(costs, dtype=np.float64), 0
    while start < len(until):
        before = until[start - 1] if start else 0.0
        stop = max(start + 1, int(np.searchsorted(until, before + _BLOCK, side="right")))
        yield slice(start, stop)
        start = stop


def read_user_items(
    dataset: Dataset, until: datetime, catalogue: Int64Array, most: int, days: float | None = None
) -> UserItems | None:
    """Read the positives before a moment; None where there is none.

    Args:
        dataset: Holds them.
        until: The moment.
        catalogue: int64 [items], ascending; positives on other items are left out.
        most: Positives to read; of more, those of a share of the users.
        days: Of how many days before `until`; None: of all.
    """
    users, items, share = read_positives(dataset, until, catalogue, most, days)
    if not len(users):
        return None
    distinct, row = np.unique(users, return_inverse=True)
    row, items = _newest(row, items, len(catalogue))
    active, column = np.unique(items, return_inverse=True)
    ones = np.ones(len(row), np.float32)
    matrix = sparse.csr_array((ones, (row, column)), shape=(len(distinct), len(active)))
    return UserItems(matrix, active, share)


def read_positives(
    dataset: Dataset, until: datetime, catalogue: Int64Array, most: int, days: float | None = None
) -> tuple[Int64Array, Int64Array, float]:
    """Users and positions of items, int64 [n] each, of the positives in time order, and of what share of the users.

    The arguments are those of `read_user_items`.
    """
    start, share = dataset.span().start, 1.0
    if days is not None and days < (until - start) / timedelta(days=1):
        start = until - timedelta(days=days)
    if start >= until:
        return np.empty(0, np.int64), np.empty(0, np.int64), share
    parts: list[tuple[Int64Array, Int64Array]] = []
    held = 0
    window = Window(start=start, end=until)
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=["user_id", "item_id"]):
        users, items = (batch.column(name).to_numpy() for name in ("user_id", "item_id"))
        place = np.minimum(np.searchsorted(catalogue, items), len(catalogue) - 1)
        kept = (catalogue[place] == items) & (user_places(users) < share)
        parts.append((users[kept], place[kept]))
        held += int(kept.sum())
        while held > most:
            share /= 2
            parts = [_of_share(*part, share) for part in parts]
            held = sum(len(users) for users, _ in parts)
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), share
    return np.concatenate([users for users, _ in parts]), np.concatenate([items for _, items in parts]), share


def _of_share(users: Int64Array, items: Int64Array, share: float) -> tuple[Int64Array, Int64Array]:
    kept = user_places(users) < share
    return users[kept], items[kept]


def _newest(row: Int64Array, items: Int64Array, catalogue: int) -> tuple[Int64Array, Int64Array]:
    """Each user's last `LONGEST` distinct items: positives in time order in, pairs by user out."""
    # From the end, so that of equal pairs the newest counts.
    pairs = row[::-1] * catalogue + items[::-1]
    _, first = np.unique(pairs, return_index=True)
    first.sort()
    row, items = np.divmod(pairs[first], catalogue)
    order = np.argsort(row, kind="stable")
    row, items = row[order], items[order]
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    return row[nth < LONGEST], items[nth < LONGEST]
