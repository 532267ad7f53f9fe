"""History encoders that read events in order, and give a state after each, so that training can learn from all."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pagoda.config.model import Gru, Transformer
from pagoda.model.dropout import Dropout
from pagoda.model.history.pooling import HistoryEncoder

_SCALE = 0.02


class SequenceHistory(HistoryEncoder):
    """Encodes a history as the state after its last event."""

    vectors = 1

    @abstractmethod
    def states(self, rows: Tensor) -> Tensor:
        """The state after each event, which no later event has a part in.

        Args:
            rows: float32 [B, L, D], the first event in the first column; what follows the last one does not matter.

        Returns:
            float32 [B, L, D].
        """

    @override
    def forward(self, rows: Tensor, mask: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`; only the order of events matters, not their age."""
        events_first = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
        states = self.states(rows.gather(1, events_first[..., None].expand_as(rows)))
        last = (mask.sum(1) - 1).clamp(min=0)
        state = states.gather(1, last[:, None, None].expand(-1, 1, rows.shape[2]))
        return state * mask.any(1)[:, None, None]

    @override
    def along(self, rows: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`."""
        return self.states(rows)[:, :, None]


class GruHistory(SequenceHistory):
    """A gated recurrent unit (Cho et al. 2014), as in Hidasi et al., ICLR 2016."""

    def __init__(self, config: Gru, dim: int) -> None:
        super().__init__()
        self._scale = math.sqrt(dim)
        self.dropout = Dropout(config.dropout)
        self.unit = nn.GRU(dim, dim, batch_first=True)

    @override
    def states(self, rows: Tensor) -> Tensor:
        """See `SequenceHistory`."""
        states: Tensor = self.unit(self.dropout(rows * self._scale))[0]
        return states


class TransformerHistory(SequenceHistory):
    """A causal Transformer with learned positions, as in Kang and McAuley, ICDM 2018, normalised before each half."""

    def __init__(self, config: Transformer, dim: int, length: int) -> None:
        super().__init__()
        self._scale = math.sqrt(dim)
        self.positions = nn.Parameter(_SCALE * torch.randn(length, dim))
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(_Block(config, dim) for _ in range(config.layers))
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
        split = self.queries_keys_values(states).unflatten(2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        rate = self._rate if self.training else 0.0
        queries, keys, values = split.unbind(0)
        heads = functional.scaled_dot_product_attention(queries, keys, values, dropout_p=rate, is_causal=True)
        return heads.transpose(1, 2).flatten(2)
