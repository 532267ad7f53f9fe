"""Rows that IDs share by their hashes: an ID without a row of its own has the sum of two of them.

Double hashing (Svenstrup et al., NeurIPS 2017, without weights of each ID, which would be a table again; for rare IDs
alone: Zhang et al., RecSys 2020): of m rows an ID takes one of m · (m - 1) / 2 pairs, so that hardly two are one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.data.ids import draw_of, of_nobody

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
_FIRST, _SECOND = 2, 3
"""Draws of an ID; another part of the house has the one before. To change them is to change every version's rows."""


def shared_places(ids: Int64Array, rows: int) -> Int64Array:
    """Which two of `rows` (two at least) each of `ids` int64 [n] has, int64 [n, 2]: never one twice."""
    first = draw_of(ids, _FIRST) % np.uint64(rows)
    step = draw_of(ids, _SECOND) % np.uint64(rows - 1) + np.uint64(1)
    return np.stack([first, (first + step) % np.uint64(rows)], axis=1).astype(np.int64)


def shared_sums(ids: Int64Array, rows: Float32Array, oov: Float32Array) -> Float32Array:
    """The sums float32 [n, dim] of the two of `rows` [m, dim] that each of `ids` int64 [n] has; of nobody, `oov` [dim].

    Whoever asks in the name of nobody wants what no user taught.
    """
    first, second = shared_places(ids, len(rows)).T
    sums: Float32Array = rows[first]
    sums += rows[second]
    sums[of_nobody(ids)] = oov
    return sums
