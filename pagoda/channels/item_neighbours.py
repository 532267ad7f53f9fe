"""Which items go with which, as the channel `item_to_item` is declared."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pagoda.channels.base import Int64Array, TableSource
from pagoda.channels.co_occurrence import LONGEST, UserItems, read_user_items
from pagoda.channels.item_similarity import cosine_neighbours, swing_neighbours
from pagoda.config.channels import ItemToItem

_MOST = 8_000_000
"""Positives that are read into memory; of more, those of a share of the users."""
_MEASURES = {"swing": swing_neighbours, "item_cf": cosine_neighbours}


def find_neighbours(declared: ItemToItem, source: TableSource) -> tuple[Int64Array, sparse.csr_array]:
    """Items that have any, int64 [n], ascending, and how near the nearest of each are, float32 [n, n]."""
    had = read_user_items(source.dataset, source.window.end, source.items, _MOST, declared.days)
    if had is None:
        return source.items[:0], sparse.csr_array((0, 0), dtype=np.float32)
    return source.items[had.places], _MEASURES[declared.method](_without_robots(had), declared.neighbours)


def _without_robots(had: UserItems) -> UserItems:
    """Without users who had `LONGEST` items or more: what they had together says little, and takes longest."""
    few = np.asarray(had.matrix.sum(axis=1)) < LONGEST
    return UserItems(had.matrix[few], had.places, had.share)
