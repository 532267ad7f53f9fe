"""What is learned from a ranker's scores: the section `distillation` of the training file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from pagoda.config.model import Section


class DistillationConfig(Section):
    """Learn how a teacher, any ranker, orders some items of a user, beside what the user chose."""

    kind: Literal["listwise", "margin"] = "listwise"
    """`listwise`: the teacher's distribution over the list (Hinton et al. 2015; Tang and Wang, KDD 2018). `margin`: the
    differences of its scores (Hofstätter et al. 2020)."""
    weight: NonNegativeFloat = 0.5
    """Of its loss beside the objective's; 0: nothing is distilled."""
    temperature: PositiveFloat = 2.0
    """Both distributions are over scores divided by it; for `listwise` alone."""
    items: Annotated[int, Field(ge=2, le=64)] = 32
    """Drawn at each positive from what the teacher has scored for its user."""

    @model_validator(mode="after")
    def _consistent(self) -> DistillationConfig:
        if self.kind == "margin" and self.temperature != DistillationConfig.model_fields["temperature"].default:
            raise ValueError("temperature is of kind: listwise; kind: margin compares the scores as they are")
        return self
