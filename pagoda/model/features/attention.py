"""The values of one feature as one vector, weighed by what they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

_ABSENT = -1e9
"""Logit of a place without a value; finite, so that a feature without any gives zeros and not NaN."""


class ValueAttention(nn.Module):
    """Weights are softmax(q · tanh(W e + b)): Yang et al., NAACL 2016, equations 5 to 7, with values for words.

    The query q begins as zero, so that pooling begins as the mean.
    """

    def __init__(self, dim: int) -> None:
        """Build it for embeddings of length `dim`."""
        super().__init__()
        self.hidden, self.query = nn.Linear(dim, dim), nn.Parameter(torch.zeros(dim))

    @override
    def forward(self, embedded: Tensor, present: Tensor) -> Tensor:
        """Pool float32 [B, width, D], of which bool [B, width] are there, to float32 [B, D]; zeros where none is."""
        logits = (torch.tanh(self.hidden(embedded)) @ self.query).masked_fill(~present, _ABSENT)
        weights = torch.softmax(logits, 1) * present
        return torch.bmm(weights[:, None], embedded)[:, 0]
