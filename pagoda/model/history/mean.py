"""The mean of a history."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from pagoda.config.model import MeanPooling
from pagoda.model.history.base import HistoryEncoder, encodes
from pagoda.model.user_inputs import UserInputs


@encodes(MeanPooling)
class MeanHistory(HistoryEncoder):
    """The mean of the rows."""

    vectors = 1

    @override
    def forward(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`; the age does not matter."""
        rows = inputs.history_rows
        weights = inputs.history_mask.to(rows.dtype)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weights[:, None], rows)

    @override
    def along(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`."""
        rows = inputs.history_rows
        counts = torch.arange(1, rows.shape[1] + 1, dtype=rows.dtype, device=rows.device)
        return (rows.cumsum(1) / counts[:, None])[:, :, None]

    @override
    def without_each(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`."""
        mask = inputs.history_mask[..., None]
        rows = inputs.history_rows * mask
        others = mask.sum(1, keepdim=True) - 1
        return ((rows.sum(1, keepdim=True) - rows) / others.clamp(min=1))[:, :, None]
