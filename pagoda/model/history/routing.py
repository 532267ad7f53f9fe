"""Interests by routing: each event goes to the interests that it agrees with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import Routing
from pagoda.model.history.base import encodes
from pagoda.model.history.interests import InterestHistory

_NEVER = -1e9
_TINY = 1e-12
"""Added to squared lengths, so that nothing is divided by that of an interest without events."""


@encodes(Routing)
class RoutingHistory(InterestHistory):
    """MIND's behaviour-to-interest dynamic routing: Li et al., CIKM 2019, section 3.3.

    A user of n events has max(1, min(K, log₂ n)) interests (equation 7). The paper draws the logits that routing begins
    with for each batch. Here they are drawn once and are part of the model: what serves may draw nothing, and what is
    learned is what serves.
    """

    start: Tensor
    """float32 [interests, L]: the logits that routing begins with."""
    fewest: Tensor
    """int64 [interests]: events from which on a user has each interest."""

    def __init__(self, declared: Routing, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self._iterations, self._scale, self._length = declared.iterations, math.sqrt(dim), length
        fewest = [0, *(2 ** (number + 1) for number in range(1, declared.interests))]
        self.whole_from = fewest[-1]
        # The rows already lie in the space of vectors, so the map that all events share begins as none.
        self.shared = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.shared.weight)
        self.register_buffer("start", torch.randn(declared.interests, length))
        self.register_buffer("fewest", torch.tensor(fewest), persistent=False)

    @override
    def encode(self, rows: Tensor, mask: Tensor) -> Tensor:
        """See `InterestHistory`."""
        events = self.shared(rows) * (self._scale * mask[:, :, None])
        there = (mask.sum(1, keepdim=True) >= self.fewest)[:, :, None]
        logits, known = self.start[:, self._length - rows.shape[1] :], events.detach()
        for _ in range(self._iterations - 1):
            logits = logits + torch.bmm(_routed(logits, there, known), known.mT)
        interests = _routed(logits, there, events)
        return torch.where(there, interests, interests[:, :1])


def _routed(logits: Tensor, there: Tensor, events: Tensor) -> Tensor:
    """The interests [B, K, D], each squashed to a length below 1, that events [B, L, D] make of their logits."""
    weights = torch.softmax(torch.where(there, logits, _NEVER), 1)
    sums = torch.bmm(weights, events)
    squares = sums.square().sum(2, keepdim=True) + _TINY
    return sums * squares.sqrt() / (1 + squares)
