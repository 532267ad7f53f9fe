"""Objectives and negatives, as declared in a training configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from pagoda.model.comparisons import Pointwise, TripletHinge, TripletLogistic
from pagoda.model.config import Section
from pagoda.model.losses import LearnedTemperature, ListwiseSoftmax, Objective


class ListwiseConfig(Section):
    """Sampled softmax over cosine / temperature with logQ correction, see `pagoda.model.losses`."""

    kind: Literal["listwise"] = "listwise"
    temperature: PositiveFloat = 0.1
    learn_temperature: bool = False
    """Start at `temperature` and learn it."""


class _Comparison(Section):
    negatives: PositiveInt = 3
    """Of one positive, drawn evenly among the candidates of its batch."""

    @property
    def temperature(self) -> float:
        """Of the listwise softmax by which incremental updates learn over such a version too."""
        return ListwiseConfig().temperature


class PointwiseConfig(_Comparison):
    """Cosines to 1 for positives, to -1 for negatives."""

    kind: Literal["pointwise"] = "pointwise"


class TripletHingeConfig(_Comparison):
    """Positives nearer than negatives by a margin."""

    kind: Literal["triplet_hinge"] = "triplet_hinge"
    margin: Annotated[float, Field(gt=0, le=2)] = 0.1


class TripletLogisticConfig(_Comparison):
    """Positives nearer than negatives, on a logistic scale."""

    kind: Literal["triplet_logistic"] = "triplet_logistic"
    scale: PositiveFloat = 10.0


def _kind(given: Any) -> str:
    return str(given.get("kind", "listwise") if isinstance(given, dict) else getattr(given, "kind", given))


ObjectiveConfig = Annotated[
    Annotated[ListwiseConfig, Tag("listwise")]
    | Annotated[PointwiseConfig, Tag("pointwise")]
    | Annotated[TripletHingeConfig, Tag("triplet_hinge")]
    | Annotated[TripletLogisticConfig, Tag("triplet_logistic")],
    Discriminator(_kind),
]


class NegativesConfig(Section):
    """Which items are candidates of every user of a batch, beside each one's own. What several sources give is mixed.

    Impressions without a click are none: users never judged most of what they were shown, and an index is searched
    among all items, not among those that ranking had let through.
    """

    in_batch: bool = True
    """The items that the other users of the batch chose."""
    uniform: NonNegativeInt = 0
    """So many draws a batch from the whole catalogue, evenly."""
    popularity: NonNegativeInt = 0
    """So many draws a batch from the whole catalogue, by clicks ^ `popularity_exponent`."""
    popularity_exponent: NonNegativeFloat = 0.75

    @model_validator(mode="after")
    def _consistent(self) -> NegativesConfig:
        if not (self.in_batch or self.uniform or self.popularity):
            raise ValueError("no source of negatives: set in_batch, uniform or popularity")
        changed = self.popularity_exponent != NegativesConfig.model_fields["popularity_exponent"].default
        if changed and not self.popularity:
            raise ValueError("popularity_exponent has no effect while popularity is 0")
        return self


def build_objective(config: ObjectiveConfig) -> Objective:
    """The objective that is declared; an `nn.Module` where it learns something itself."""
    match config:
        case ListwiseConfig(learn_temperature=True):
            return LearnedTemperature(config.temperature)
        case ListwiseConfig():
            return ListwiseSoftmax(config.temperature)
        case PointwiseConfig():
            return Pointwise()
        case TripletHingeConfig():
            return TripletHinge(config.margin)
        case TripletLogisticConfig():
            return TripletLogistic(config.scale)


def single_negatives(config: ObjectiveConfig) -> int:
    """How many negatives of its own a positive needs."""
    return 0 if isinstance(config, ListwiseConfig) else config.negatives
