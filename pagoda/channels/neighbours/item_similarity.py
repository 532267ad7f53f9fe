"""Which items go with which: by the users who had both (their cosine, and Swing), or by vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.channels.base import TableSource
from pagoda.channels.neighbours.co_occurrence import LONGEST, UserItems, blocks, read_user_items
from pagoda.channels.neighbours.nearest import Float32Array, nearest
from pagoda.channels.neighbours.vector_similarity import vector_neighbours
from pagoda.config.channels import ItemToItem
from pagoda.data.ids import user_places

Int64Array = NDArray[np.int64]
_SAMPLED = 1_000
"""Users of an item whose pairs Swing looks at: half a million. Of more, others would say the same again."""
_MOST = 8_000_000
"""Positives that are read into memory; of more, those of a share of the users."""
_SMOOTHING = 1.0
"""alpha of Swing: what two users share weighs 1 / (alpha + how much that is)."""


def cosine_neighbours(had: UserItems, kept: int) -> sparse.csr_array:
    """Each item's nearest by the cosine of the sets of users who had them (Sarwar et al., WWW 2001, section 3.1).

    Returns:
        float32 [items, items]: a row has the cosines of up to `kept` other items.
    """
    lengths = np.sqrt(np.asarray(had.matrix.sum(axis=0), np.float32))
    found = []
    for rows, block in had.together():
        row, column = (counts := block.tocoo()).coords
        cosine = counts.data / (lengths[row + rows.start] * lengths[column])
        other = column != row + rows.start
        found.append(nearest(row[other], column[other], cosine[other], counts.shape, kept))
    return sparse.vstack(found, format="csr")


def swing_neighbours(had: UserItems, kept: int) -> sparse.csr_array:
    """Each item's nearest by Swing (Yang et al. 2020, arXiv 2010.05525, section 3.1).

    s(i, j) = Σ over pairs of users u < w who had both of 1 / (√|I_u| · √|I_w| · (alpha + |I_u ∩ I_w|)), I_u being what
    u had. Of an item with more than `_SAMPLED` users, the pairs of so many are looked at, the same in each run: each
    value of its row is the sum over them.

    Returns:
        float32 [items, items]: a row has the values of up to `kept` other items.
    """
    lengths = np.asarray(had.matrix.sum(axis=1), np.float64)
    weights = 1 / np.sqrt(np.maximum(lengths, 1))
    columns = _sampled(had.matrix.tocsc())
    users = np.diff(columns.indptr).astype(np.float64)
    found = []
    for items in blocks(np.maximum(users**2, columns.T @ lengths)):
        row, column, value = _swing_block(had.matrix, weights, columns[:, items], items.start)
        found.append(nearest(row, column, value, (items.stop - items.start, had.matrix.shape[1]), kept))
    return sparse.vstack(found, format="csr")


def _sampled(columns: sparse.csc_array) -> sparse.csc_array:
    """Up to `_SAMPLED` users of each item, bool [users, items]."""
    item = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    order = np.lexsort((user_places(columns.indices.astype(np.int64)), item))
    nth = np.arange(len(order)) - columns.indptr[item]
    chosen = np.sort(order[nth < _SAMPLED])
    ones = np.ones(len(chosen), bool)
    return sparse.csc_array((ones, (columns.indices[chosen], item[chosen])), shape=columns.shape)


def _swing_block(
    matrix: sparse.csr_array, weights: NDArray[np.float64], columns: sparse.csc_array, first: int
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Rows, columns and values, [n] each, of some items, the first of which is that numbered `first`.

    Only pairs of users that share another item are met, each as often as they do: once to count what they share, in a
    table of all pairs of an item's users, and once more to add up what that is worth to each of these items.
    """
    users = np.diff(columns.indptr).astype(np.int64)
    item = np.repeat(np.arange(len(users)), users)
    user, keys = _beside(matrix, columns.indices, item, first)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    # Of each user of an item, their place among these, and their line in the item's table of pairs.
    place = (np.arange(len(item)) - columns.indptr[item])[user]
    line = (np.cumsum(users**2) - users**2)[item[user]] + place * users[item[user]]
    shared = np.zeros(int((users**2).sum()), np.int64)
    for pairs in _pairs(starts, len(keys)):
        shared += np.bincount(pairs.of_one(line) + place[pairs.other], minlength=len(shared))
    # The item itself is shared, too.
    worth, weight = 1 / (_SMOOTHING + 1 + shared), weights[columns.indices[user]]
    sums = np.zeros(len(keys))
    for pairs in _pairs(starts, len(keys)):
        values = worth[pairs.of_one(line) + place[pairs.other]] * weight[pairs.other]
        sums[pairs.one] = weight[pairs.one] * np.add.reduceat(values, pairs.begins)
    total = np.add.reduceat(sums, starts) if len(starts) else sums
    kept = total > 0
    return *np.divmod(keys[starts][kept], matrix.shape[1]), total[kept].astype(np.float32)


def _beside(
    matrix: sparse.csr_array, users: NDArray[np.int32], item: Int64Array, first: int
) -> tuple[Int64Array, Int64Array]:
    """What the users of some items had beside these: [n] each, which of `users`, and item · all items + other item.

    They are in the order of the latter; `item` says of each user whose they are, counted from item `first`.
    """
    theirs = matrix[users]
    user = np.repeat(np.arange(len(users)), np.diff(theirs.indptr))
    other = theirs.indices != item[user] + first
    user = user[other]
    keys = item[user] * matrix.shape[1] + theirs.indices[other]
    order = np.argsort(keys, kind="stable")
    return user[order], keys[order]


class _Pairs(NamedTuple):
    """Pairs of entries, one after the other of the same first entry."""

    one: Int64Array
    """[m]: the first entries."""
    counts: Int64Array
    """[m]: pairs of each."""
    begins: Int64Array
    """[m]: where these begin."""
    other: Int64Array
    """[n]: the second entry of each pair."""

    def of_one(self, values: Int64Array) -> Int64Array:
        """Of all entries' values, those of the first of each pair, [n]."""
        return np.repeat(values[self.one], self.counts)


def _pairs(starts: Int64Array, size: int) -> Iterator[_Pairs]:
    """All pairs of entries of one group, in blocks of first entries.

    Args:
        starts: Of the groups, which follow each other.
        size: Entries in all.
    """
    ends = np.append(starts, size)[1:]
    left = np.repeat(ends, ends - starts) - 1 - np.arange(size)
    first = np.flatnonzero(left)
    for part in blocks(left[first]):
        one, counts = first[part], left[first[part]]
        begins = np.cumsum(counts) - counts
        yield _Pairs(one, counts, begins, np.arange(int(counts.sum())) + np.repeat(one + 1 - begins, counts))


_MEASURES = {"swing": swing_neighbours, "item_cf": cosine_neighbours}


def find_neighbours(declared: ItemToItem, source: TableSource) -> tuple[Int64Array, sparse.csr_array]:
    """Items that may have any, int64 [n], ascending, and how near the nearest of each are, float32 [n, n]."""
    if declared.method == "vectors":
        return source.items, vector_neighbours(source.vectors(), declared.neighbours)
    had = read_user_items(source.dataset, source.window.end, source.items, _MOST, declared.days)
    if had is None:
        return source.items[:0], sparse.csr_array((0, 0), dtype=np.float32)
    return source.items[had.places], _MEASURES[declared.method](_without_robots(had), declared.neighbours)


def _without_robots(had: UserItems) -> UserItems:
    """Without users who had `LONGEST` items or more: what they had together says little, and takes longest."""
    few = np.asarray(had.matrix.sum(axis=1)) < LONGEST
    return UserItems(had.matrix[few], had.places, had.share)
