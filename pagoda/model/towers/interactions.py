"""Interactions of a tower's inputs, each input as a vector of one length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override


class InputVectors(nn.Module):
    """Each input of a tower, projected to one length."""

    def __init__(self, widths: Sequence[int], length: int) -> None:
        """Build it for inputs of these widths, end to end."""
        super().__init__()
        self._widths = list(widths)
        self.projections = nn.ModuleList(nn.Linear(width, length, bias=False) for width in widths)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Project float32 [..., sum of widths] to [..., inputs, length]."""
        parts = torch.split(inputs, self._widths, -1)
        return torch.stack([project(part) for project, part in zip(self.projections, parts, strict=True)], -2)


class FactorisationMachine(nn.Module):
    """The sum over i < j of e_i * e_j, products by element, as half of (sum e_i)^2 - sum e_i^2.

    A factorisation machine's second order (Rendle, ICDM 2010) before it is summed to a number, as He and Chua, SIGIR
    2017, pool interactions.
    """

    @override
    def forward(self, vectors: Tensor) -> Tensor:
        """Interact float32 [..., m, k] to [..., k]."""
        return (vectors.sum(-2).square() - vectors.square().sum(-2)) / 2


class CompressedInteractionNetwork(nn.Module):
    """Layer by layer x'_h = sum over i, j of W_hij (x_i * e_j), products by element, beginning with x = e.

    Lian et al., KDD 2018 (xDeepFM), equation 6, with the identity for activation, as found best there. Each of a
    layer's maps is summed over its numbers; the sums of all layers lie end to end.
    """

    def __init__(self, vectors: int, maps: Sequence[int]) -> None:
        super().__init__()
        before = (vectors, *maps)
        self.layers = nn.ModuleList(
            nn.Linear(of * vectors, into, bias=False) for of, into in zip(before, maps, strict=False)
        )

    @override
    def forward(self, vectors: Tensor) -> Tensor:
        """Interact float32 [..., m, k] to [..., sum of maps]."""
        start = vectors.transpose(-1, -2)
        current, pooled = start, []
        for layer in self.layers:
            current = layer((current[..., None] * start[..., None, :]).flatten(-2))
            pooled.append(current.sum(-2))
        return torch.cat(pooled, -1)
