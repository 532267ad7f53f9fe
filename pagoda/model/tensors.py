"""Encoded features as tensors, and what is done with tensors everywhere."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.model.encoder import Encoded

_SHORTEST = 1e-6


def tensors(encoded: Encoded, rows: slice | NDArray[np.int64] | None = None) -> dict[str, Tensor]:
    """The features of all rows, in the encoder's own memory, or of some; int64 `rows` are copied."""
    if rows is None:
        return {name: torch.from_numpy(array) for name, array in encoded.items()}
    return {name: torch.from_numpy(array[rows]) for name, array in encoded.items()}


def directions(vectors: Tensor) -> Tensor:
    """Scale float32 [..., D] to unit length; what is next to zero has no direction, and becomes zero.

    Nor has it a gradient: that of a direction grows without bound towards zero, where the out-of-vocabulary row begins,
    and one such step would make all later ones of its optimiser vanish.
    """
    lengths = vectors.norm(dim=-1, keepdim=True)
    return torch.where(lengths > _SHORTEST, vectors / lengths.clamp(min=_SHORTEST), 0.0)
