"""Objectives that look at single items: a user's own against a few negatives, each by its cosine.

They know no logQ: how often an item is a negative is up to the sampler alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pagoda.model.losses.nearest import by_nearest
from pagoda.model.losses.objective import Candidates


@dataclass(frozen=True)
class Pointwise:
    """Mean squared distance of cosines from 1 for the user's own item and from -1 for each negative."""

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        squares = (1 - own).square().sum() + ((1 + others).square() * valid).sum()
        return squares / (len(own) + valid.sum())


@dataclass(frozen=True)
class TripletHinge:
    """Mean over (user, own item, negative) of max(0, margin + cos(user, negative) - cos(user, own item))."""

    margin: float

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        return _mean(torch.relu(self.margin + others - own[:, None]), valid)


@dataclass(frozen=True)
class TripletLogistic:
    """Mean over (user, own item, negative) of log(1 + exp(scale (cos(user, negative) - cos(user, own item))))."""

    scale: float

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        return _mean(functional.softplus(self.scale * (others - own[:, None])), valid)


def _cosines(users: Tensor, candidates: Candidates, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines with own items [B] and with negatives [B, K], and which of these are negatives at all."""
    if candidates.negatives is None:
        raise ValueError("this objective needs candidates.negatives")
    chosen, drawn = candidates.vectors[targets], candidates.vectors[candidates.negatives]
    own = by_nearest(lambda user: (user * chosen).sum(1), users)
    others = by_nearest(lambda user: torch.einsum("bd,bkd->bk", user, drawn), users)
    return own, others, (candidates.negatives != targets[:, None]).to(own.dtype)


def _mean(losses: Tensor, valid: Tensor) -> Tensor:
    return (losses * valid).sum() / valid.sum().clamp(min=1)
