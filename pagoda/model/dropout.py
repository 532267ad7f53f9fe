"""Dropout that draws one byte a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

_STEPS = 256


class Dropout(nn.Module):
    """As `nn.Dropout`, with a rate in steps of 1/256.

    On a processor, drawing is what dropout costs, and PyTorch draws 32 bits a number: a sixth of a training step was
    seen to go there.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._dropped = min(round(rate * _STEPS), _STEPS - 1)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """In training zero some of `inputs`, any shape, and scale the others so that the mean stays."""
        if not self.training or not self._dropped:
            return inputs
        words = torch.empty(-(-inputs.numel() // 8), dtype=torch.int64, device=inputs.device).random_(
            torch.iinfo(torch.int64).min, None
        )
        kept = words.view(torch.uint8)[: inputs.numel()].view_as(inputs) >= self._dropped
        return inputs * (kept * (_STEPS / (_STEPS - self._dropped))).to(inputs.dtype)
