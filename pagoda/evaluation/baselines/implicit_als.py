"""iALS: matrix factorisation for implicit feedback by alternating least squares.

Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, in the form of Rendle,
Krichene, Zhang & Koren, "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022, section 2:
each pair that was chosen costs its squared distance from 1, all pairs cost α₀ times their squared scores, and a row's
regularisation grows with how many pairs it is in, λ (pairs + α₀ · columns), which is their exponent 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float32Array = NDArray[np.float32]
DIM = 64
_UNOBSERVED, _REGULARISATION, _SWEEPS, _SCALE = 0.3, 0.003, 8, 0.1
"""α₀, λ, how often users and items take turns, and the standard deviation of a row's length at the start.

The first two are the best of 0.1, 0.3, 1 and 0.003, 0.01, 0.03, 0.1 on the validation items of MovieLens-100K
(NDCG@10 0.078; 0.072 to 0.079 wherever λ is 0.01 or less)."""
_FLOATS = 1 << 22
"""Of padded rows at once: 16 MB."""


def learn_items(had: sparse.csr_array, seed: int) -> Float32Array:
    """Items' factors float32 [items, DIM] from who had what, [users, items] of ones."""
    scale = _SCALE / np.sqrt(DIM)
    items = np.random.default_rng(seed).normal(0, scale, (had.shape[1], DIM)).astype(np.float32)
    by_item = had.T.tocsr()
    for _ in range(_SWEEPS):
        items = solve(by_item, solve(had, items))
    return items


def solve(had: sparse.csr_array, factors: Float32Array) -> Float32Array:
    """The best factors of rows, float32 [rows, DIM], for those of columns, float32 [columns, DIM].

    Args:
        had: [rows, columns] of ones; a row without any gets zeros.
        factors: Of the columns.
    """
    solved = np.zeros((had.shape[0], factors.shape[1]), np.float32)
    lengths = np.diff(had.indptr)
    shared = _UNOBSERVED * (factors.T @ factors)
    padded_factors = np.vstack([factors, np.zeros((1, factors.shape[1]), np.float32)])
    # Rows of similar lengths lie side by side, since a rectangle is as wide as its longest.
    order = np.argsort(lengths, kind="stable")
    for rows in _parts(order[lengths[order] > 0], lengths, factors.shape[1]):
        columns = _padded(had, rows, lengths[rows], fill=len(factors))
        chosen = padded_factors[columns]
        weights = _REGULARISATION * (lengths[rows] + _UNOBSERVED * len(factors))
        left = chosen.transpose(0, 2, 1) @ chosen + shared
        left[:, *np.diag_indices(factors.shape[1])] += weights[:, None].astype(np.float32)
        solved[rows] = np.linalg.solve(left, chosen.sum(axis=1)[..., None])[..., 0]
    return solved


def _parts(order: NDArray[np.int64], lengths: NDArray[np.integer], dim: int) -> list[NDArray[np.int64]]:
    """Rows, in the order of their lengths, cut so that none of the parts has more than `_FLOATS` in a rectangle."""
    parts, start = [], 0
    while start < len(order):
        # A row costs as much as its own rectangle, and a square of the dimension to solve.
        cost = np.maximum(lengths[order[start:]], dim).astype(np.int64) * dim * np.arange(1, len(order) - start + 1)
        stop = start + max(1, int(np.searchsorted(cost, _FLOATS, side="right")))
        parts.append(order[start:stop])
        start = stop
    return parts


def _padded(
    had: sparse.csr_array, rows: NDArray[np.int64], lengths: NDArray[np.integer], fill: int
) -> NDArray[np.int64]:
    """The columns of some rows as a rectangle [rows, longest], `fill` where there is none."""
    places = np.arange(lengths.max())
    there = places < lengths[:, None]
    columns = np.full(there.shape, fill, np.int64)
    columns[there] = had.indices[(had.indptr[rows][:, None] + places)[there]]
    return columns
