"""The blocks that towers are stacked from, each built from its declaration."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from pagoda.model.config import Mlp


def build_blocks(declared: Sequence[Mlp], width: int) -> tuple[nn.Sequential, int]:
    """Stack the declared blocks on an input of `width`; return them with the width of their output."""
    layers: list[nn.Module] = []
    for block in declared:
        for hidden in block.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
    return nn.Sequential(*layers), width
