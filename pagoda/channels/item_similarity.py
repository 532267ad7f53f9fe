"""Which items go with which, by the users who had both: the cosine of their sets of users, and Swing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.channels.co_occurrence import UserItems, blocks
from pagoda.data.ids import user_places

Float32Array = NDArray[np.float32]
_SAMPLED = 1_000
"""Users of an item whose pairs Swing looks at: half a million. Of more, others would say the same again."""
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
        found.append(_nearest(row[other], column[other], cosine[other], counts.shape, kept))
    return sparse.vstack(found, format="csr")


def swing_neighbours(had: UserItems, kept: int) -> sparse.csr_array:
    """Each item's nearest by Swing (Yang et al. 2020, arXiv 2010.05525, section 3.1).

    s(i, j) = Σ over pairs of users u < w who had both of 1 / (√|I_u| · √|I_w| · (alpha + |I_u ∩ I_w|)), I_u being what
    u had. Of an item with more than `_SAMPLED` users, the pairs of so many are looked at, the same in each run: each
    value of its row is the sum over them.

    Returns:
        float32 [items, items]: a row has the values of up to `kept` other items.
    """
    # Of a pair, what the second user had is gone through: the one who had less.
    by_length = had.matrix[np.argsort(-had.matrix.sum(axis=1), kind="stable")]
    lengths = np.asarray(by_length.sum(axis=1), np.float64)
    columns = _sampled(by_length.tocsc())
    users = np.diff(columns.indptr).astype(np.float64)
    found = []
    for items in blocks(np.maximum(users**2, columns.T @ lengths)):
        row, column, value = _swing_block(by_length, lengths, columns[:, items], items.start)
        found.append(_nearest(row, column, value, (items.stop - items.start, by_length.shape[1]), kept))
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
    matrix: sparse.csr_array, lengths: NDArray[np.float64], columns: sparse.csc_array, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32Array]:
    """Rows, columns and values, [n] each, of some items, the first of which is that numbered `first`.

    Each of an item's users has a row of their own, and each item that goes with it a column of its own: so one product
    of sparse matrices does all items, and pairs of users of different ones do not meet.
    """
    item = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    theirs = matrix[columns.indices]
    row = np.repeat(np.arange(len(item)), np.diff(theirs.indptr))
    other = theirs.indices != item[row] + first
    row, keys = row[other], item[row[other]] * matrix.shape[1] + theirs.indices[other]
    distinct, column = np.unique(keys, return_inverse=True)
    had = sparse.csr_array((np.ones(len(row)), (row, column)), shape=(len(item), len(distinct)))
    pairs = sparse.triu(had @ had.T, 1, format="csr")
    user, peer = (counted := pairs.tocoo()).coords
    weights = 1 / np.sqrt(lengths[columns.indices])
    # What they share beside the item itself was counted.
    pairs.data = weights[user] * weights[peer] / (_SMOOTHING + 1 + counted.data)
    total = np.zeros(len(distinct))
    for part in _sums(had, pairs):
        total += part
    kept = total > 0
    return *np.divmod(distinct[kept], matrix.shape[1]), total[kept].astype(np.float32)


def _sums(had: sparse.csr_array, pairs: sparse.csr_array) -> Iterator[NDArray[np.float64]]:
    """By column of `had`, the sum of `pairs` of rows that both have it, float64, in parts to be added."""
    reached = (pairs != 0) @ np.diff(had.indptr)
    for rows in blocks(reached):
        yield np.asarray(had[rows].multiply(pairs[rows] @ had).sum(axis=0))


def _nearest(
    row: NDArray[np.integer], column: NDArray[np.integer], value: Float32Array, shape: tuple[int, int], kept: int
) -> sparse.csr_array:
    """The largest values of each row, which are positive; of equal ones, those that come first."""
    # Positive floats are ordered like their bits, so rows and falling values are one number: sorted in a third of the
    # time that two keys take.
    order = np.argsort((row.astype(np.uint64) << np.uint64(32)) | ~value.view(np.uint32), kind="stable")
    row, column, value = row[order], column[order], value[order]
    near = np.arange(len(row)) - np.searchsorted(row, row) < kept
    return sparse.csr_array((value[near], (row[near], column[near])), shape=shape)
