"""Means of a history that fade with age."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import DecayPooling
from pagoda.model.history.base import HistoryEncoder, encodes
from pagoda.model.user_inputs import UserInputs

_LONG = 1e12
_NEVER = -1e9
"""Logit of a place without an event; finite, so that an empty history gives zeros and not NaN."""


@encodes(DecayPooling)
class DecayHistory(HistoryEncoder):
    """Weighted means of the rows, weights 2^(-age / half-life), for several learned half-lives at once.

    Weights are a softmax over the events, so only differences in age matter and an old history loses nothing.
    """

    def __init__(self, declared: DecayPooling, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self.vectors = len(declared.half_lives_seconds)
        self.log_half_lives = nn.Parameter(torch.tensor(declared.half_lives_seconds).log())

    @override
    def forward(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`."""
        mask, age = inputs.history_mask, inputs.history_age
        rates = math.log(2) * torch.exp(-self.log_half_lives)
        # Ages from the newest event on: seconds since an old one would leave float32 few digits for the differences.
        newest = age.masked_fill(~mask, torch.inf).amin(1, keepdim=True).clamp(max=_LONG)
        logits = ((newest - age)[:, None] * rates[:, None]).masked_fill(~mask[:, None], _NEVER)
        return torch.bmm(torch.softmax(logits, 2) * mask[:, None], inputs.history_rows)

    @override
    def along(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`."""
        rows, age = inputs.history_rows, inputs.history_age
        rates = math.log(2) * torch.exp(-self.log_half_lives)
        since = (age[:, None] - age[:, :, None]).to(rows.dtype)  # [S, after, event]
        later = torch.ones(since.shape[1:], dtype=torch.bool, device=rows.device).triu(1)
        logits = (-since[:, :, None] * rates[:, None]).masked_fill(later[:, None], _NEVER)
        return torch.einsum("slve,sed->slvd", torch.softmax(logits, 3), rows)
