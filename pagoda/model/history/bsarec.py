"""A causal Transformer whose blocks mix attention with a filter of frequencies (BSARec)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import Bsarec
from pagoda.model.dropout import Dropout
from pagoda.model.history.base import encodes
from pagoda.model.history.sequence_history import SequenceHistory, causal_attention

_SCALE = 0.02


@encodes(Bsarec)
class BsarecHistory(SequenceHistory):
    """Shin et al., AAAI 2024, section 4, with learned positions; normalised after each half, as there.

    The paper's filter is circular: each state has a part of all later events. Here a state has those of the events up
    to its own, with the same weights by distance; so one pass learns from all positives, and the state after the last
    event of a first layer is the paper's.
    """

    slow: Tensor
    """float32 [L, L]: `slow_changes` of the longest history."""

    def __init__(self, declared: Bsarec, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self._scale = math.sqrt(dim)
        self.positions = nn.Parameter(_SCALE * torch.randn(length, dim))
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(declared.dropout)
        self.blocks = nn.ModuleList(_Block(declared, dim) for _ in range(declared.layers))
        self.register_buffer("slow", slow_changes(length, declared.frequencies), persistent=False)

    @override
    def states(self, rows: Tensor) -> Tensor:
        """See `SequenceHistory`; at most as many events as there are positions."""
        length = rows.shape[1]
        states: Tensor = self.dropout(self.norm((rows + self.positions[:length]) * self._scale))
        for block in self.blocks:
            states = block(states, self.slow[:length, :length])
        return states


def slow_changes(length: int, frequencies: int) -> Tensor:
    """What gives each place the slow part of what is up to it, float32 [length, length], zero above the diagonal.

    The inverse Fourier transform of the lowest `frequencies` bins of the transform of `length` events, as one matrix:
    (1 + 2 Σⱼ cos 2πj(t - s) / length) / length, of which each place gets what is not after it.
    """
    places = torch.arange(length, dtype=torch.float64)
    apart = places[:, None] - places
    waves = [torch.cos(2 * math.pi * number * apart / length) for number in range(1, frequencies)]
    return torch.tril((1 + 2 * sum(waves, torch.zeros_like(apart))) / length).float()


class _Block(nn.Module):
    """Filter and attention beside each other, then a fully connected layer."""

    def __init__(self, config: Bsarec, dim: int) -> None:
        super().__init__()
        self._heads, self._rate, self._filtered = config.heads, config.dropout, config.filtered
        self.quick = nn.Parameter(torch.randn(dim))
        """β of the paper: its square is the weight of quick changes."""
        self.filter_norm, self.attention_norm, self.hidden_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.queries_keys_values, self.attended = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.dropout = Dropout(config.dropout)
        self.hidden = nn.Sequential(nn.Linear(dim, config.hidden), nn.GELU(), nn.Linear(config.hidden, dim))

    @override
    def forward(self, states: Tensor, slow: Tensor) -> Tensor:
        low = slow @ states
        filtered = self.filter_norm(states + self.dropout(low + self.quick.square() * (states - low)))
        attended = self.attention_norm(states + self.dropout(self.attended(self._attend(states))))
        mixed = self._filtered * filtered + (1 - self._filtered) * attended
        changed: Tensor = self.hidden_norm(mixed + self.dropout(self.hidden(mixed)))
        return changed

    def _attend(self, states: Tensor) -> Tensor:
        rate = self._rate if self.training else 0.0
        return causal_attention(self.queries_keys_values(states), self._heads, rate)
