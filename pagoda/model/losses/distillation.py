"""Distillation: the scores of a user for some items should lie as a teacher's do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_NOTHING = -1e9
"""Score of a place without an item: finite, since a row of infinite ones has no softmax."""


@dataclass(frozen=True)
class ScoredItems:
    """Of each user some items that a teacher has scored."""

    items: Tensor
    """int64 [B, n]: which of the batch's distinct items."""
    logits: Tensor
    """float32 [B, n]: the teacher's scores; -inf where a user has no more."""


def listwise_distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """τ² KL(softmax(teacher / τ) ‖ softmax(student / τ)) over each list: Hinton et al. 2015, section 2, as a mean.

    No logQ: a list is given, not sampled. A user with fewer than two items counts as 0, so that a list weighs the same
    beside the objective whoever else is in the batch.

    Args:
        student: float32 [B, n], logits.
        teacher: float32 [B, n], logits; -inf for no item.
        temperature: τ. Its square keeps the gradients' size.
    """
    there = torch.isfinite(teacher)
    wanted, found = (
        functional.log_softmax(torch.where(there, scores, _NOTHING) / temperature, 1) for scores in (teacher, student)
    )
    divergence = functional.kl_div(found, wanted, reduction="sum", log_target=True)
    return temperature**2 * divergence / len(student)


def margin_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over users of the mean square of (student - teacher), less its mean over the list.

    Half of the mean over all pairs of (s_i - s_j - t_i + t_j)²: MarginMSE, Hofstätter et al. 2020 (arXiv 2010.02666),
    section 4, over whole lists. Arguments and users with fewer than two items as for `listwise_distillation`.
    """
    there = torch.isfinite(teacher)
    counts = there.sum(1, keepdim=True).clamp(min=1)
    gaps = torch.where(there, student - torch.where(there, teacher, 0.0), 0.0)
    centred = torch.where(there, gaps - gaps.sum(1, keepdim=True) / counts, 0.0)
    return (centred.square() / counts).sum() / len(student)
