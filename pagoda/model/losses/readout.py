"""Which of a user's interests a positive belongs to: the one that is nearest to it."""

from __future__ import annotations

import torch
from torch import Tensor


def hard_readout(users: Tensor, chosen: Tensor) -> Tensor:
    """Each user's vector of the largest product with what they chose: Cen et al., KDD 2020, equation 7.

    No gradient goes through the choice, nor into the vectors that were not chosen.

    Args:
        users: float32 [B, D], which are given back, or several interests [B, interests, D].
        chosen: float32 [B, D].

    Returns:
        float32 [B, D].
    """
    if users.ndim == chosen.ndim:
        return users
    nearest = torch.bmm(users.detach(), chosen.detach()[:, :, None])[:, :, 0].argmax(1)
    return users[torch.arange(len(users), device=users.device), nearest]
