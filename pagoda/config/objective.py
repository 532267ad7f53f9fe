"""Which objective a training has: the section `objective` of the training file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)
from typing_extensions import override

from pagoda.config.model import Section


class ListwiseConfig(Section):
    """Sampled softmax over similarity / temperature with logQ correction, see `pagoda.model.losses.objective`."""

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
    """Each item by itself: positives to yes, negatives to no."""

    kind: Literal["pointwise"] = "pointwise"
    loss: Literal["squares", "bce"] = "squares"
    """`squares`: cosines to 1 for positives, to -1 for negatives. `bce`: binary cross-entropy, the probability of yes
    being the logistic function of `scale` times the cosine."""
    scale: PositiveFloat = 10.0
    """For `bce` alone."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.0
    """For `bce` alone: how much of the overconfidence that few negatives cause is taken back, t of gBCE, see
    `pagoda.model.losses.comparisons`. 1: probabilities are as if each other item had been a negative."""

    @property
    @override
    def temperature(self) -> float:
        return 1 / self.scale

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("scale", "calibration"):
            if self.loss != "bce" and getattr(self, name) != PointwiseConfig.model_fields[name].default:
                raise ValueError(f"{name} has no effect while loss is {self.loss}; it is for bce")
        return self


class TripletHingeConfig(_Comparison):
    """Positives nearer than negatives by a margin."""

    kind: Literal["triplet_hinge"] = "triplet_hinge"
    margin: Annotated[float, Field(gt=0, le=2)] = 0.4


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


def single_negatives(config: ObjectiveConfig) -> int:
    """How many negatives of its own a positive needs."""
    return 0 if isinstance(config, ListwiseConfig) else config.negatives
