"""The last event of a history beside what is made of all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from pagoda.model.history.base import HistoryEncoder
from pagoda.model.user_inputs import UserInputs


class SeededHistory(HistoryEncoder):
    """What another encoder gives, and the row of the last event as it is (the seed)."""

    def __init__(self, history: HistoryEncoder) -> None:
        nn.Module.__init__(self)  # No section declares it, but `model.seed_item`.
        self.vectors, self.interests = history.vectors + 1, history.interests
        self.whole_from = history.whole_from
        self.history = history

    @override
    def forward(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`; the seed comes last, beside each interest."""
        seed = inputs.history_rows[:, -1:] * inputs.history_mask[:, -1:, None]
        if self.interests > 1:
            seed = seed[:, None].expand(-1, self.interests, -1, -1)
        return torch.cat([self.history(inputs), seed], -2)

    @override
    def along(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`."""
        return torch.cat([self.history.along(inputs), inputs.history_rows[:, :, None]], 2)
