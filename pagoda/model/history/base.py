"""History encoders: item-ID rows of what a user did last to vectors of the user tower.

One is added as a section of `pagoda.config.model.HistoryConfig` and a module beside this one, in which `encodes` names
the section; `factory` finds it, and the tests of towers run for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from pagoda.config.model import Section
from pagoda.model.user_inputs import UserInputs


class HistoryEncoder(nn.Module, ABC):
    """Turns each history into `vectors` vectors of the length of an item-ID row."""

    vectors: int
    interests: int = 1
    """How many vectors a user has in the end: where there are several, each is made of `vectors` of its own."""
    whole_from: int = 0
    """Events from which on a user has all interests."""

    def __init__(self, declared: Section, dim: int, length: int) -> None:  # noqa: ARG002 - what each is built of.
        """Build what is `declared`, for rows of length `dim` and at most `length` events."""
        super().__init__()

    @abstractmethod
    def forward(self, inputs: UserInputs) -> Tensor:
        """Encode the histories among inputs.

        Returns:
            float32 [B, vectors, D], of several interests [B, interests, vectors, D]; zeros for an empty history.
        """

    @abstractmethod
    def along(self, inputs: UserInputs) -> Tensor:
        """What `forward` gives after each event of sequences, in one pass, so that training can learn from all.

        Args:
            inputs: Its histories are S sequences [S, L], left-aligned: the first event is in the first column. What
                follows the last event of a sequence has no part in what comes before it.

        Returns:
            float32 [S, L, vectors, D].
        """

    def without_each(self, inputs: UserInputs) -> Tensor:
        """What `forward` gives of sets without each of their items, in one pass; for encoders that read no order.

        Args:
            inputs: Its histories are S sets [S, L], left-aligned.

        Returns:
            float32 [S, L, vectors, D].
        """
        raise NotImplementedError(f"{type(self).__name__} reads events in order")


Encodes = TypeVar("Encodes", bound=type[HistoryEncoder])
ENCODERS: dict[type[Section], type[HistoryEncoder]] = {}


def encodes(section: type[Section]) -> Callable[[Encodes], Encodes]:
    """Mark an encoder as what is built where a training file declares `section`."""

    def register(encoder: Encodes) -> Encodes:
        ENCODERS[section] = encoder
        return encoder

    return register
