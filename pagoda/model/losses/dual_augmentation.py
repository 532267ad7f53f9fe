"""What augmented vectors learn beside the objective: Yu et al., DLP-KDD 2021 (dual augmented two-tower, DAT)."""

from __future__ import annotations

import torch
from torch import Tensor

from pagoda.model.features.codec import UNKNOWN
from pagoda.model.unit_vectors import unit_vectors

_FEWEST = 8
"""Items of a category in a batch, from which on it has a covariance worth comparing."""


def mimic_losses(augmented: Tensor, vectors: Tensor) -> Tensor:
    """Squared distance of each augmented vector's direction from what the other tower gave for the same positive.

    The adaptive-mimic mechanism, section 2.2.2: it moves the augmented vectors alone. Of negatives nothing is learned.
    The paper does not normalise augmented vectors; here vectors are of unit length, and so is what mimics them.

    Args:
        augmented: float32 [B, D].
        vectors: float32 [B, D], unit length; no gradient reaches them.

    Returns:
        float32 [B], from 0 to 4.
    """
    return (unit_vectors(augmented) - vectors.detach()).square().sum(1)


def alignment_loss(vectors: Tensor, categories: Tensor) -> Tensor:
    """Sum over categories of the squared Frobenius distance of their covariance from that of the commonest one.

    The category alignment loss, section 2.2.3. Items whose category is unknown, and categories with fewer than 8 items,
    are left out.

    Args:
        vectors: float32 [M, D], of distinct items.
        categories: int64 [M], or [M, values] of which the first counts, as `Encoder` gives a feature of items.

    Returns:
        A number; 0 where there is one category or none.
    """
    first = categories if categories.ndim == 1 else categories[:, 0]
    known = first > UNKNOWN
    ordered, order = first[known].sort(stable=True)
    _, counts = torch.unique_consecutive(ordered, return_counts=True)
    parts = [part for part in torch.split(vectors[known][order], counts.tolist()) if len(part) >= _FEWEST]
    if len(parts) <= 1:
        return vectors.new_zeros(())
    covariances = torch.stack([torch.cov(part.T) for part in parts])
    commonest = max(range(len(parts)), key=lambda place: len(parts[place]))
    return (covariances - covariances[commonest]).square().sum()
