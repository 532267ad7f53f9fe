"""Self-supervision on one tower: two views of an item should lie together, and apart from all others'."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean of -log exp(s(i, i) / T) / sum over j of exp(s(i, j) / T): Yao et al., CIKM 2021, equation 1.

    Args:
        first: float32 [n, D], unit length: one view of each item.
        second: float32 [n, D], unit length: the other one.
        temperature: T.
    """
    targets = torch.arange(len(first), device=first.device)
    return functional.cross_entropy(first @ second.T / temperature, targets)
