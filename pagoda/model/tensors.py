"""Encoded features as tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.model.encoder import Encoded


def tensors(encoded: Encoded, rows: slice | NDArray[np.int64] | None = None) -> dict[str, Tensor]:
    """The features of all rows, in the encoder's own memory, or of some; int64 `rows` are copied."""
    if rows is None:
        return {name: torch.from_numpy(array) for name, array in encoded.items()}
    return {name: torch.from_numpy(array[rows]) for name, array in encoded.items()}
