"""Which items go with which by their vectors: exact cosines, in blocks."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pagoda.channels.neighbours.nearest import Float32Array, nearest

_CELLS = 1 << 24
"""Cosines at once, 64 MiB."""
_GROUP = 32
_TINY = np.finfo(np.float32).tiny


def vector_neighbours(vectors: Float32Array, kept: int) -> sparse.csr_array:
    """Each item's nearest by the cosine of their vectors; of equal ones, those that come first.

    Time follows the square of the items, memory the items times `kept`.

    Args:
        vectors: Of the items, of any length, float32 [items, dim].
        kept: How many of an item.

    Returns:
        float32 [items, items]: a row has the cosines, above 0, of up to `kept` other items.
    """
    items = len(vectors)
    directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    found = []
    for start in range(0, items, rows := max(1, _CELLS // items)):
        cosines = directions[start : start + rows] @ directions.T
        np.fill_diagonal(cosines[:, start:], 0)  # An item is no neighbour of its own.
        row, column = np.nonzero(cosines >= _at_most_least(cosines, kept)[:, None])
        found.append(nearest(row, column, cosines[row, column], cosines.shape, kept))
    return sparse.vstack(found, format="csr")


def _at_most_least(cosines: Float32Array, kept: int) -> Float32Array:
    """Above 0, and of each row no more than the least of its `kept` largest, float32 [rows].

    It is that of the largest values of groups of columns, which there are fewer of to sort: not all are below it that
    should be, but few are not.
    """
    groups = np.maximum.reduceat(cosines, np.arange(0, cosines.shape[1], _GROUP), axis=1)
    if groups.shape[1] <= kept:
        return np.full(len(cosines), _TINY)
    least: Float32Array = np.maximum(np.partition(groups, -kept, axis=1)[:, -kept], _TINY)
    return least
