"""Which items users had together: what baselines are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.baselines.user_sample import places

Int64Array = NDArray[np.int64]
_LONGEST = 1_000
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

        A block has as many rows as have at most `_BLOCK` pairs between them, counted with repetition; so memory follows
        neither the catalogue nor the log.
        """
        lengths = self.matrix.sum(axis=1)
        pairs = np.cumsum(np.asarray(self.matrix.T @ lengths, np.float64))
        columns, start = self.matrix.tocsc(), 0
        while start < len(pairs):
            before = pairs[start - 1] if start else 0.0
            stop = max(start + 1, int(np.searchsorted(pairs, before + _BLOCK, side="right")))
            yield slice(start, stop), (columns[:, start:stop].T @ self.matrix).tocsr()
            start = stop


def read_user_items(dataset: Dataset, until: Window, catalogue: Int64Array, most: int) -> UserItems | None:
    """Read the positives before the start of `until`; None where there is none.

    Args:
        dataset: Holds them.
        until: The window that is asked about.
        catalogue: int64 [items], ascending; positives on other items are left out.
        most: Positives to read; of more, those of a share of the users.
    """
    users, items, share = read_positives(dataset, until, catalogue, most)
    if not len(users):
        return None
    distinct, row = np.unique(users, return_inverse=True)
    row, items = _newest(row, items, len(catalogue))
    active, column = np.unique(items, return_inverse=True)
    ones = np.ones(len(row), np.float32)
    matrix = sparse.csr_array((ones, (row, column)), shape=(len(distinct), len(active)))
    return UserItems(matrix, active, share)


def read_positives(
    dataset: Dataset, until: Window, catalogue: Int64Array, most: int
) -> tuple[Int64Array, Int64Array, float]:
    """Users and positions of items, int64 [n] each, of the positives in time order, and of what share of the users.

    The arguments are those of `read_user_items`.
    """
    span, share = dataset.span(), 1.0
    if span.start >= until.start:
        return np.empty(0, np.int64), np.empty(0, np.int64), share
    parts: list[tuple[Int64Array, Int64Array]] = []
    held = 0
    window = Window(start=span.start, end=until.start)
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=["user_id", "item_id"]):
        users, items = (batch.column(name).to_numpy() for name in ("user_id", "item_id"))
        place = np.minimum(np.searchsorted(catalogue, items), len(catalogue) - 1)
        kept = (catalogue[place] == items) & (places(users) < share)
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
    kept = places(users) < share
    return users[kept], items[kept]


def _newest(row: Int64Array, items: Int64Array, catalogue: int) -> tuple[Int64Array, Int64Array]:
    """Each user's last `_LONGEST` distinct items: positives in time order in, pairs by user out."""
    # From the end, so that of equal pairs the newest counts.
    pairs = row[::-1] * catalogue + items[::-1]
    _, first = np.unique(pairs, return_index=True)
    first.sort()
    row, items = np.divmod(pairs[first], catalogue)
    order = np.argsort(row, kind="stable")
    row, items = row[order], items[order]
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    return row[nth < _LONGEST], items[nth < _LONGEST]
