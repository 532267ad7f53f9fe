"""History encoders that read events in order, and give a state after each, so that training can learn from all."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from pagoda.model.history.base import HistoryEncoder
from pagoda.model.user_inputs import UserInputs


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
    def forward(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`; only the order of events matters, not their age."""
        rows, mask = inputs.history_rows, inputs.history_mask
        events_first = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
        states = self.states(rows.gather(1, events_first[..., None].expand_as(rows)))
        last = (mask.sum(1) - 1).clamp(min=0)
        state = states.gather(1, last[:, None, None].expand(-1, 1, rows.shape[2]))
        return state * mask.any(1)[:, None, None]

    @override
    def along(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`."""
        return self.states(inputs.history_rows)[:, :, None]


def causal_attention(queries_keys_values: Tensor, heads: int, dropout: float) -> Tensor:
    """What each event finds among those up to it, with several heads.

    Args:
        queries_keys_values: float32 [B, L, 3 D], one after another.
        heads: Divides D.
        dropout: Share of attention weights that are dropped.

    Returns:
        float32 [B, L, D].
    """
    # Not by sizes that are read: a traced program would keep those of its example.
    split: Tensor = queries_keys_values.unflatten(2, (3, heads, -1))  # type: ignore[no-untyped-call]
    queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
    found = functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, is_causal=True)
    return found.transpose(1, 2).flatten(2)
