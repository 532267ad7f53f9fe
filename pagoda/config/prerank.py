"""What orders the candidates of a search: the section `prerank` of the training file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from pagoda.config.channels import ChannelConfig
from pagoda.config.ensemble import EnsembleConfig
from pagoda.config.model import ModelConfig, Section


class PrerankConfig(Section):
    """A small network over user and item together (COLD: Wang et al., DLP-KDD 2020), learned from what was shown."""

    candidates: Annotated[int, Field(ge=2, le=5000)] = 1000
    """Items that a search is asked for, and that it orders; an answer holds the best k of them."""
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 32)
    """Widths of its layers."""
    features: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    """Groups of features that it reads. `auto`: those that its gates rank first, as many as the budget allows and the
    order gains by."""
    budget_ms: PositiveFloat = 3.0
    """Milliseconds that all candidates of a user may take on one core, as measured where it is trained."""

    @field_validator("features")
    @classmethod
    def _distinct(cls, features: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(features, tuple) and len(set(features)) < len(features):
            raise ValueError("each group once")
        return features

    def refuse_beside(
        self, model: ModelConfig, ensemble: EnsembleConfig | None, channels: Sequence[ChannelConfig]
    ) -> None:
        """Refuse what it is not made for.

        Raises:
            ValueError: A user has several vectors, or something else orders what is found, or gives places by chance.
        """
        if any(channel.kind == "explore" for channel in channels):
            raise ValueError(
                "prerank orders what is found, and the channel explore gives places by chance, whose probabilities "
                "another order would make wrong; choose one of them"
            )
        if model.interests > 1:
            raise ValueError(
                f"prerank is for users of one vector, and model.history gives {model.interests}; choose one of them"
            )
        if ensemble is not None and ensemble.combine == "cascade":
            raise ValueError(
                "prerank orders what is found, as the second member of ensemble.combine: cascade does; choose one of "
                "them"
            )
