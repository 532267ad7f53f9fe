"""History encoders: item-ID rows of what a user did last to vectors of the user tower. Here those that pool rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from typing_extensions import override

_LONG = 1e12
_NEVER = -1e9
"""Logit of a place without an event; finite, so that an empty history gives zeros and not NaN."""


class HistoryEncoder(nn.Module, ABC):
    """Turns each history into `vectors` vectors of the length of an item-ID row."""

    vectors: int

    @abstractmethod
    def forward(self, rows: Tensor, mask: Tensor, age: Tensor) -> Tensor:
        """Encode histories.

        Args:
            rows: float32 [B, L, D], item-ID rows, right-aligned: the last event is in the last column.
            mask: bool [B, L], True where there is an event.
            age: float32 [B, L], seconds from the event to the request.

        Returns:
            float32 [B, vectors, D]; zeros for an empty history.
        """

    @abstractmethod
    def along(self, rows: Tensor, age: Tensor) -> Tensor:
        """What `forward` gives after each event of sequences, in one pass, so that training can learn from all.

        Args:
            rows: float32 [S, L, D], left-aligned: the first event is in the first column. What follows the last event
                of a sequence has no part in what comes before it.
            age: float [S, L], seconds from each event to one moment of its sequence.

        Returns:
            float32 [S, L, vectors, D].
        """


class MeanHistory(HistoryEncoder):
    """The mean of the rows."""

    vectors = 1

    @override
    def forward(self, rows: Tensor, mask: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`; the age does not matter."""
        weights = mask.to(rows.dtype)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weights[:, None], rows)

    @override
    def along(self, rows: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`."""
        counts = torch.arange(1, rows.shape[1] + 1, dtype=rows.dtype, device=rows.device)
        return (rows.cumsum(1) / counts[:, None])[:, :, None]


class DecayHistory(HistoryEncoder):
    """Weighted means of the rows, weights 2^(-age / half-life), for several learned half-lives at once.

    Weights are a softmax over the events, so only differences in age matter and an old history loses nothing.
    """

    def __init__(self, half_lives_seconds: tuple[float, ...]) -> None:
        super().__init__()
        self.vectors = len(half_lives_seconds)
        self.log_half_lives = nn.Parameter(torch.tensor(half_lives_seconds).log())

    @override
    def forward(self, rows: Tensor, mask: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`."""
        rates = math.log(2) * torch.exp(-self.log_half_lives)
        # Ages from the newest event on: seconds since an old one would leave float32 few digits for the differences.
        newest = age.masked_fill(~mask, torch.inf).amin(1, keepdim=True).clamp(max=_LONG)
        logits = ((newest - age)[:, None] * rates[:, None]).masked_fill(~mask[:, None], _NEVER)
        return torch.bmm(torch.softmax(logits, 2) * mask[:, None], rows)

    @override
    def along(self, rows: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`."""
        rates = math.log(2) * torch.exp(-self.log_half_lives)
        since = (age[:, None] - age[:, :, None]).to(rows.dtype)  # [S, after, event]
        later = torch.ones(since.shape[1:], dtype=torch.bool, device=rows.device).triu(1)
        logits = (-since[:, :, None] * rates[:, None]).masked_fill(later[:, None], _NEVER)
        return torch.einsum("slve,sed->slvd", torch.softmax(logits, 3), rows)


class SeededHistory(HistoryEncoder):
    """What another encoder gives, and the row of the last event as it is (the seed)."""

    def __init__(self, history: HistoryEncoder) -> None:
        super().__init__()
        self.vectors = history.vectors + 1
        self.history = history

    @override
    def forward(self, rows: Tensor, mask: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`; the seed comes last."""
        seed = rows[:, -1:] * mask[:, -1:, None]
        return torch.cat([self.history(rows, mask, age), seed], 1)

    @override
    def along(self, rows: Tensor, age: Tensor) -> Tensor:
        """See `HistoryEncoder`."""
        return torch.cat([self.history.along(rows, age), rows[:, :, None]], 2)
