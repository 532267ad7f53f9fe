"""Interests by self-attention: for each of them weights of its own over the events."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import SelfAttentive
from pagoda.model.history.base import encodes
from pagoda.model.history.interests import InterestHistory

_SCALE = 0.02
_NEVER = -1e9
"""Logit of a place without an event; finite, so that an empty history gives zeros and not NaN."""


@encodes(SelfAttentive)
class SelfAttentiveHistory(InterestHistory):
    """ComiRec-SA: Cen et al., KDD 2020, section 3.2, equations 4 to 6; positions count back from the last event.

    A = softmax over events of W₂ tanh(W₁ (H + P)), interests = A H.
    """

    def __init__(self, declared: SelfAttentive, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self._scale, self._length, self.whole_from = math.sqrt(dim), length, declared.interests
        self.positions = nn.Parameter(_SCALE * torch.randn(length, dim))
        self.hidden = nn.Linear(dim, declared.hidden, bias=False)
        self.attended = nn.Linear(declared.hidden, declared.interests, bias=False)

    @override
    def encode(self, rows: Tensor, mask: Tensor) -> Tensor:
        """See `InterestHistory`."""
        placed = (rows + self.positions[self._length - rows.shape[1] :]) * self._scale
        logits = self.attended(torch.tanh(self.hidden(placed))).mT
        weights = torch.softmax(logits.masked_fill(~mask[:, None], _NEVER), 2) * mask[:, None]
        return torch.bmm(weights, rows)
