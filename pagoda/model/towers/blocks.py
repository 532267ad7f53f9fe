"""The blocks that towers are stacked from, each built from its declaration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import BlockConfig, Cross, Mlp, Senet


class SenetGate(nn.Module):
    """Weighs each of the inputs by what all of them are (SENet; for features Huang et al., RecSys 2019, FiBiNET).

    Weights are 2 sigmoid(W2 relu(W1 z)), z the means of the inputs. W2 begins as zero, so that the gate begins open.
    """

    def __init__(self, widths: Sequence[int], reduction: int) -> None:
        """Build it for inputs of these widths, end to end."""
        super().__init__()
        self._widths = list(widths)
        hidden = max(1, len(widths) // reduction)
        self.squeeze, self.excite = nn.Linear(len(widths), hidden), nn.Linear(hidden, len(widths))
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Weigh float32 [..., sum of widths]."""
        parts = torch.split(inputs, self._widths, -1)
        means = torch.stack([part.mean(-1) for part in parts], -1)
        weights = 2 * torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))
        return torch.cat([part * weights[..., place, None] for place, part in enumerate(parts)], -1)


class CrossNetwork(nn.Module):
    """x' = x0 * (W x + b) + x, layer after layer: Wang et al., WWW 2021 (DCN-v2), equation 1."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Cross float32 [..., width]."""
        crossed = inputs
        for layer in self.layers:
            crossed = inputs * layer(crossed) + crossed
        return crossed


def build_blocks(declared: Sequence[BlockConfig], widths: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Stack the declared blocks on inputs of `widths`, end to end; return them with the width of their output."""
    layers: list[nn.Module] = []
    width = sum(widths)
    for block in declared:
        match block:
            case Senet():
                layers.append(SenetGate(widths, block.reduction))
            case Cross():
                layers.append(CrossNetwork(width, block.layers))
            case Mlp():
                for hidden in block.hidden:
                    layers += [nn.Linear(width, hidden), nn.ReLU()]
                    width = hidden
    return nn.Sequential(*layers), width
