"""Which items go with which, by EASE: where the catalogue allows its matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pagoda.channels.neighbours.co_occurrence import UserItems

Float32Array = NDArray[np.float32]
_REGULARISATION = 250.0
"""Of EASE: as RecBole has it, which tunes it for no one set (recbole 1.2.1, properties/model/EASE.yaml)."""


def ease(had: UserItems) -> Float32Array:
    """EASE's weights, float32 [items, items]: to have the item of a row speaks for that of a column.

    Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8: B = I - P · diagMat(1 / diag(P))
    with P the inverse of XᵀX + λI. It is computed in place, by a Cholesky decomposition, since that is positive
    definite: memory is one such matrix, 1.6 GB at 20,000 items.
    """
    gram = np.zeros((had.matrix.shape[1],) * 2, np.float32, order="F")
    for rows, block in had.together():
        row, column = (counts := block.tocoo()).coords
        gram[row + rows.start, column] = counts.data
    gram[np.diag_indices_from(gram)] += _REGULARISATION
    factor, _ = linalg.lapack.spotrf(gram, lower=True, overwrite_a=True)
    inverse, _ = linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
    _mirror(inverse)
    weights: Float32Array = np.divide(inverse, -np.diag(inverse).copy(), out=inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def _mirror(matrix: Float32Array) -> None:
    """Copy the lower triangle to the upper one, in blocks, so that no second matrix is needed."""
    step = 1024
    for start in range(0, len(matrix), step):
        rows = slice(start, start + step)
        matrix[rows, start + step :] = matrix[start + step :, rows].T
        square = matrix[rows, rows]
        matrix[rows, rows] = np.tril(square) + np.tril(square, -1).T
