"""Parallel towers: several branches from a tower's inputs, each to a part of its vector.

QQ Browser's engineering article of 2021 ("parallel two towers"; there is no paper) learns a weight for each product of
the two sides' numbers. Within a branch its last layer learns such weights anyway; what remains is one weight a branch.
Branch c gives p_c in one tower and q_c in the other. With a = softmax(theta), learned from theta = 0 on,

    u = concatenation over c of sqrt(a_c) p_c / |p_c|, and v of sqrt(a_c) q_c / |q_c|

have unit length, and u.v is the sum over c of a_c cos(p_c, q_c): whoever searches need not know of branches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import BranchConfig, Cin, Cross, Fm, Mlp, RowSum
from pagoda.errors import ConfigError
from pagoda.model.towers.blocks import build_blocks
from pagoda.model.towers.interactions import CompressedInteractionNetwork, FactorisationMachine, InputVectors
from pagoda.model.unit_vectors import unit_vectors


class SharedBranches(nn.Module):
    """What the branches of both towers have in common: their weights, and the matrix of rows.

    Rows of a history and of items to be found lie in one space, so they are projected by one matrix.
    """

    def __init__(self, declared: Sequence[BranchConfig], dim: int) -> None:
        """Build it for vectors of length `dim`, which the number of branches divides."""
        super().__init__()
        self.declared, self.part = tuple(declared), dim // len(declared)
        self.theta = nn.Parameter(torch.zeros(len(declared)))
        of_rows = (branch for branch in declared if isinstance(branch, RowSum))
        self.by_kind = nn.ModuleDict({branch.kind: nn.Linear(dim, self.part, bias=False) for branch in of_rows})

    def weights(self) -> Tensor:
        """How much each branch counts, float32 [branches]; they add up to 1."""
        return torch.softmax(self.theta, 0)

    def weights_by_kind(self) -> dict[str, float]:
        """The same by the kinds of the branches."""
        kinds = [branch.kind for branch in self.declared]
        return dict(zip(kinds, self.weights().tolist(), strict=True))


class Branches(nn.Module):
    """The branches of one tower."""

    def __init__(self, shared: SharedBranches, widths: Sequence[int]) -> None:
        """Build them for inputs of these widths, end to end.

        Raises:
            ConfigError: There is a factorisation machine, and a single input.
        """
        super().__init__()
        # In a tuple it is no submodule: its parameters are those of `Towers`, and are named, saved and learned once.
        self._shared = (shared,)
        own = (branch for branch in shared.declared if not isinstance(branch, RowSum))
        self.by_kind = nn.ModuleDict({branch.kind: _branch(branch, widths, shared.part) for branch in own})

    @override
    def forward(self, inputs: Tensor, total: Tensor) -> Tensor:
        """Compute a tower's vectors.

        Args:
            inputs: float32 [..., sum of widths].
            total: float32 [..., D], the sum of the tower's rows.

        Returns:
            float32 [..., D], of unit length where each branch has a direction. One that has none, since it knows
            nothing of the inputs, is zero.
        """
        (shared,) = self._shared
        kinds = (branch.kind for branch in shared.declared)
        parts = [self.by_kind[kind](inputs) if kind in self.by_kind else shared.by_kind[kind](total) for kind in kinds]
        return (shared.weights().sqrt()[:, None] * unit_vectors(torch.stack(parts, -2))).flatten(-2)


def _branch(declared: Mlp | Cross | Fm | Cin, widths: Sequence[int], part: int) -> nn.Module:
    match declared:
        case Mlp() | Cross():
            blocks, width = build_blocks([declared], widths)
            return nn.Sequential(blocks, nn.Linear(width, part))
        case Fm():
            if len(widths) == 1:
                raise ConfigError(
                    "model.branches holds fm, products of every two inputs, but a tower has a single input; declare "
                    "features of users and items, or leave fm out"
                )
            # No bias: what depends on no input would outshine products of small numbers.
            last = nn.Linear(declared.width, part, bias=False)
            return nn.Sequential(InputVectors(widths, declared.width), FactorisationMachine(), last)
        case Cin():
            network = CompressedInteractionNetwork(len(widths), declared.maps)
            last = nn.Linear(sum(declared.maps), part, bias=False)
            return nn.Sequential(InputVectors(widths, declared.width), network, last)
