"""Vectors of unit length, or none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from typing_extensions import override

_SHORTEST = 1e-6
_SHORTEST_DIVISOR = 1e-12
"""As of `functional.normalize`."""


def unit_vectors(vectors: Tensor) -> Tensor:
    """Scale float32 [..., D] to unit length; what is next to zero has no direction, and becomes zero.

    Nor has it a gradient: that of a direction grows without bound towards zero, where the out-of-vocabulary row begins,
    and one such step would make all later ones of its optimiser vanish.
    """
    lengths = vectors.norm(dim=-1, keepdim=True)
    return torch.where(lengths > _SHORTEST, vectors / lengths.clamp(min=_SHORTEST), 0.0)


def normalized(vectors: Tensor, *, training: bool) -> Tensor:
    """As `functional.normalize` over the last dimension, with a gradient in three passes where a step is `training`.

    Autograd keeps and reads a dozen tensors of that size for it, which over a whole catalogue is a good part of a step.
    """
    if not training:  # What is exported is made of PyTorch's own operations.
        return functional.normalize(vectors, dim=-1)
    units: Tensor = _Normalized.apply(vectors)  # type: ignore[no-untyped-call]
    return units


class _Normalized(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        lengths = vectors.norm(dim=-1, keepdim=True).clamp_(min=_SHORTEST_DIVISOR)
        units: Tensor = vectors / lengths
        ctx.save_for_backward(units, lengths)
        return units

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        units, lengths = ctx.saved_tensors
        along = (gradient * units).sum(-1, keepdim=True)
        by_vectors: Tensor = torch.addcmul(gradient, units, along, value=-1).div_(lengths)
        return by_vectors
