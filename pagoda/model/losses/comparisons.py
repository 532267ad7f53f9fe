"""Objectives that look at single items: a user's own against a few negatives, each by its cosine.

Where towers are compared by inner product, that stands for the cosine everywhere here.
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

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        right, wrong = (1 - own).square(), (1 + others).square() * valid
        return (_weighed(right, weights).sum() + _weighed(wrong, weights).sum()) / (len(own) + valid.sum())


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Mean of -beta log p for the user's own item and -log(1 - p) for each negative, p = 1 / (1 + exp(-scale cos)).

    With beta below 1 it is gBCE (Petrov and Macdonald, RecSys 2023), which says -log(p ^ beta). Of few negatives a
    model learns that nearly every item is right; `calibrating_beta` takes that back.
    """

    scale: float
    beta: float = 1.0

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        right = self.beta * functional.softplus(-self.scale * own)
        wrong = functional.softplus(self.scale * others) * valid
        return (_weighed(right, weights).sum() + _weighed(wrong, weights).sum()) / (len(own) + valid.sum())


def calibrating_beta(calibration: float, negatives: int, items: int) -> float:
    """Beta of gBCE: alpha (t (1 - 1 / alpha) + 1 / alpha), as in Petrov and Macdonald, RecSys 2023, and their code.

    alpha = negatives / (items - 1) is how often an item is a negative where it is not the positive. At t = 1 the
    optimum of p is the item's probability to be chosen; at t = 0 beta is 1.

    Args:
        calibration: t.
        negatives: Of one positive, drawn evenly from all other items.
        items: Size of the catalogue, above 1.
    """
    alpha = negatives / (items - 1)
    return alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)


@dataclass(frozen=True)
class TripletHinge:
    """Mean over (user, own item, negative) of max(0, margin + cos(user, negative) - cos(user, own item))."""

    margin: float

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        return _mean(_weighed(torch.relu(self.margin + others - own[:, None]), weights), valid)


@dataclass(frozen=True)
class TripletLogistic:
    """Mean over (user, own item, negative) of log(1 + exp(scale (cos(user, negative) - cos(user, own item))))."""

    scale: float

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `pagoda.model.losses.objective.Objective`."""
        own, others, valid = _cosines(users, candidates, targets)
        return _mean(_weighed(functional.softplus(self.scale * (others - own[:, None])), weights), valid)


def _cosines(users: Tensor, candidates: Candidates, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines with own items [B] and with negatives [B, K], and which of these are negatives at all."""
    if candidates.negatives is None:
        raise ValueError("this objective needs candidates.negatives")
    chosen, drawn = candidates.vectors[targets], candidates.vectors[candidates.negatives]
    own = by_nearest(lambda user: (user * chosen).sum(1), users)
    others = by_nearest(lambda user: torch.einsum("bd,bkd->bk", user, drawn), users)
    return own, others, (candidates.negatives != targets[:, None]).to(own.dtype)


def _weighed(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Losses of users [B] or of their negatives [B, K], by what the users' choices weigh."""
    if weights is None:
        return losses
    return losses * weights if losses.ndim == 1 else losses * weights[:, None]


def _mean(losses: Tensor, valid: Tensor) -> Tensor:
    return (losses * valid).sum() / valid.sum().clamp(min=1)
