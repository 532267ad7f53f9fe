"""Users' sets of items, so that one pass over each gives its user's vector without every one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pagoda.data.history.histories import Histories
from pagoda.training.examples.sequences import Sequences
from pagoda.training.examples.stream import Block

Int64Array = NDArray[np.int64]


def sets_of(block: Block, rows: Int64Array, rng: np.random.Generator) -> tuple[Block, Sequences]:
    """Lay out what each user chose in the block as a set; a larger one than histories are is cut into equal parts.

    Args:
        block: Positives.
        rows: int64 [catalogue]: each item's place in the item table.
        rng: Draws which items of a larger set lie in one part.

    Returns:
        The block with sets for histories, and where these are: `seen` is how many items of its piece come before a
        positive's own, in no order. Who chose an item twice has it once in the set, and two positives of it.
    """
    histories, users = block.moments.histories, block.moments.users
    rank = rng.permutation(len(rows))[block.items]
    order = np.lexsort((rank, users))
    leads = np.concatenate([[True], users[order][1:] != users[order][:-1]])
    is_new = leads | np.concatenate([[True], rank[order][1:] != rank[order][:-1]])
    item, user = np.cumsum(is_new) - 1, np.cumsum(leads) - 1
    begin = item[leads]
    sizes = np.diff(np.append(begin, item[-1] + 1))
    within, parts = item - begin[user], -(-sizes // max(histories.length, 1))
    part = within * parts[user] // sizes[user]
    first = np.append(np.flatnonzero(leads | np.concatenate([[True], part[1:] != part[:-1]])), len(order))
    starts, items = item[first[:-1]], rows[block.items[order[is_new]]]
    lengths = np.diff(np.append(starts, len(items)))
    seen = item - np.repeat(starts, np.diff(first))
    laid_out = Histories(histories.length, items, np.zeros_like(items), starts, starts + lengths)
    return replace(block, moments=replace(block.moments, histories=laid_out)), Sequences(
        order, first, seen, starts, lengths
    )


def others_of(members: Int64Array, of: Int64Array, candidates: Int64Array, targets: Int64Array) -> Int64Array:
    """All pairs of a positive and a candidate that is another item of its set, learned in this batch or not.

    Args:
        members: int64 [S, L], places of the sets' items in the item table; -1 fills up.
        of: int64 [B], whose each positive is.
        candidates: int64 [M], their places in the item table.
        targets: int64 [B], which of the candidates was chosen.

    Returns:
        int64 [2, n]: positives, ascending, and which of the candidates.
    """
    order = np.argsort(candidates)
    at = np.searchsorted(candidates, members, sorter=order).clip(max=len(candidates) - 1)
    found = np.where(candidates[order[at]] == members, order[at], -1)[of]
    positives, place = np.nonzero((found >= 0) & (found != targets[:, None]))
    return np.stack([positives, found[positives, place]])
