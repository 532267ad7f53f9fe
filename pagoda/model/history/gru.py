"""A recurrent unit over a history."""

from __future__ import annotations

import math

from torch import Tensor, nn
from typing_extensions import override

from pagoda.config.model import Gru
from pagoda.model.dropout import Dropout
from pagoda.model.history.base import encodes
from pagoda.model.history.sequence_history import SequenceHistory


@encodes(Gru)
class GruHistory(SequenceHistory):
    """A gated recurrent unit (Cho et al. 2014), as in Hidasi et al., ICLR 2016."""

    def __init__(self, declared: Gru, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self._scale = math.sqrt(dim)
        self.dropout = Dropout(declared.dropout)
        self.unit = nn.GRU(dim, dim, batch_first=True)

    @override
    def states(self, rows: Tensor) -> Tensor:
        """See `SequenceHistory`."""
        states: Tensor = self.unit(self.dropout(rows * self._scale))[0]
        return states
