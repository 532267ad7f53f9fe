"""Vectors of unit length, or none."""

from __future__ import annotations

import torch
from torch import Tensor

_SHORTEST = 1e-6


def unit_vectors(vectors: Tensor) -> Tensor:
    """Scale float32 [..., D] to unit length; what is next to zero has no direction, and becomes zero.

    Nor has it a gradient: that of a direction grows without bound towards zero, where the out-of-vocabulary row begins,
    and one such step would make all later ones of its optimiser vanish.
    """
    lengths = vectors.norm(dim=-1, keepdim=True)
    return torch.where(lengths > _SHORTEST, vectors / lengths.clamp(min=_SHORTEST), 0.0)
