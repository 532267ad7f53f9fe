"""History encoders that tell a user's interests apart: a vector for each, of which any may find an item."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from typing_extensions import override

from pagoda.config.model import Routing, SelfAttentive
from pagoda.model.history.base import HistoryEncoder
from pagoda.model.user_inputs import UserInputs


class InterestHistory(HistoryEncoder):
    """Encodes a history as so many interests as are declared."""

    vectors = 1

    def __init__(self, declared: SelfAttentive | Routing, dim: int, length: int) -> None:
        super().__init__(declared, dim, length)
        self.interests = declared.interests

    @abstractmethod
    def encode(self, rows: Tensor, mask: Tensor) -> Tensor:
        """The interests of each user.

        Args:
            rows: float32 [B, L, D], the last event in the last column.
            mask: bool [B, L]: True where there is an event.

        Returns:
            float32 [B, interests, D]. One that a user lacks is their first once more, so that whoever looks for the
            best of all need not know of it; zeros for an empty history.
        """

    @override
    def forward(self, inputs: UserInputs) -> Tensor:
        """See `HistoryEncoder`; only the order of events matters, not their age."""
        encoded = self.encode(inputs.history_rows, inputs.history_mask)
        return encoded if self.interests == 1 else encoded[:, :, None]

    @override
    def along(self, inputs: UserInputs) -> Tensor:
        """None: a sequence's later events move all of its weights, so `learn: sequences` is refused with these."""
        raise NotImplementedError(f"{type(self).__name__} reads each history as a whole")
