"""A causal Transformer over a history."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import Transformer
from pagoda.model.dropout import Dropout
from pagoda.model.history.base import encodes
from pagoda.model.history.sequence_history import SequenceHistory, causal_attention

_SCALE = 0.02


@encodes(Transformer)
class TransformerHistory(SequenceHistory):
    """A causal Transformer with learned positions, as in Kang and McAuley, ICDM 2018, normalised before each half."""

    def __init__(self, declared: Transformer, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self._scale = math.sqrt(dim)
        self.positions = nn.Parameter(_SCALE * torch.randn(length, dim))
        self.dropout = Dropout(declared.dropout)
        self.blocks = nn.ModuleList(_Block(declared, dim) for _ in range(declared.layers))
        self.norm = nn.RMSNorm(dim)

    @override
    def states(self, rows: Tensor) -> Tensor:
        """See `SequenceHistory`; at most as many events as there are positions."""
        states = self.dropout((rows + self.positions[: rows.shape[1]]) * self._scale)
        for block in self.blocks:
            states = block(states)
        normalised: Tensor = self.norm(states)
        return normalised


class _Block(nn.Module):
    """Attention to what was before, then a fully connected layer, each on normalised states and added to them."""

    def __init__(self, config: Transformer, dim: int) -> None:
        super().__init__()
        self._heads, self._rate = config.heads, config.dropout
        self.attention_norm, self.hidden_norm = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.queries_keys_values = nn.Linear(dim, 3 * dim, bias=False)
        self.attended = nn.Linear(dim, dim, bias=False)
        self.dropout = Dropout(config.dropout)
        self.hidden = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.GELU(), Dropout(config.dropout), nn.Linear(config.hidden, dim)
        )

    @override
    def forward(self, states: Tensor) -> Tensor:
        states = states + self.dropout(self.attended(self._attend(self.attention_norm(states))))
        changed: Tensor = states + self.dropout(self.hidden(self.hidden_norm(states)))
        return changed

    def _attend(self, states: Tensor) -> Tensor:
        rate = self._rate if self.training else 0.0
        return causal_attention(self.queries_keys_values(states), self._heads, rate)
