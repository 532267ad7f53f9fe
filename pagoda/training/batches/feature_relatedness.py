"""How much the features of items say about each other: mutual information over the catalogue, computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pagoda.model.encoder import Encoded, Field

Float64Array = NDArray[np.float64]
_BINS = 16
"""Of a dense feature, over its first principal component."""


def related(fields: Sequence[Field], encoded: Encoded, items: int) -> Float64Array:
    """Mutual information of each two features of the items, as a share of the greater entropy of the two.

    The ID is a feature too: it tells everything, but since its own entropy is the greatest, that is a small share of
    it. An item with several values of a feature counts for each in equal parts.

    Args:
        fields: f encoded features of the item tower.
        encoded: Their arrays over the catalogue.
        items: Size of the catalogue.

    Returns:
        float64 [1 + f, 1 + f], symmetric, from 0 to 1; the ID first.
    """
    parts = [sparse.identity(items, format="csr"), *(_shares(field, encoded[field.name]) for field in fields)]
    entropies = [_entropy(np.asarray(part.sum(0)).ravel() / items) for part in parts]
    found = np.eye(len(parts))
    for one in range(len(parts)):
        for other in range(one):
            most = max(entropies[one], entropies[other])
            share = information(parts[one], parts[other]) / most if most > 0 else 0.0
            found[one, other] = found[other, one] = share
    return found


def information(one: sparse.csr_matrix, other: sparse.csr_matrix) -> float:
    """Mutual information in nats of two features, each given as shares [items, values] whose rows add up to 1."""
    joint = sparse.coo_matrix((one.T @ other) / one.shape[0])
    margins = (np.asarray(part.sum(0)).ravel() / one.shape[0] for part in (one, other))
    first, second = (margin[places] for margin, places in zip(margins, (joint.row, joint.col), strict=True))
    return float(np.sum(joint.data * np.log(joint.data / (first * second))))


def _shares(field: Field, values: NDArray[np.generic]) -> sparse.csr_matrix:
    """float64 [items, values]: what part of an item each value is; a bag without any has the first, "unknown"."""
    if field.form == "dense":
        values = _bins(values.astype(np.float64))
    wide = values.reshape(len(values), -1).astype(np.int64)
    wide = np.where((wide < 0).all(1, keepdims=True) & (np.arange(wide.shape[1]) == 0), 0, wide)
    rows, columns = np.nonzero(wide >= 0)
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, wide[rows, columns])))
    return sparse.csr_matrix(sparse.diags(1 / np.asarray(counts.sum(1)).ravel()) @ counts)


def _bins(vectors: Float64Array) -> NDArray[np.int64]:
    centred = vectors - vectors.mean(0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    along = centred @ direction
    edges = np.quantile(along, np.arange(1, _BINS) / _BINS)
    bins: NDArray[np.int64] = np.searchsorted(edges, along, side="right")
    return bins


def _entropy(shares: Float64Array) -> float:
    present = shares[shares > 0]
    return float(-np.sum(present * np.log(present)))
