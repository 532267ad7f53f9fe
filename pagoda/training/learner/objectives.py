"""Objectives and negatives, as declared in a training configuration."""

from __future__ import annotations

from pagoda.config.objective import (
    ListwiseConfig,
    ObjectiveConfig,
    PointwiseConfig,
    TripletHingeConfig,
    TripletLogisticConfig,
)
from pagoda.model.losses.comparisons import BinaryCrossEntropy, Pointwise, TripletHinge, TripletLogistic
from pagoda.model.losses.objective import LearnedTemperature, ListwiseSoftmax, Objective


def build_objective(config: ObjectiveConfig) -> Objective:
    """The objective that is declared; an `nn.Module` where it learns something itself."""
    match config:
        case ListwiseConfig(learn_temperature=True):
            return LearnedTemperature(config.temperature)
        case ListwiseConfig():
            return ListwiseSoftmax(config.temperature)
        case PointwiseConfig(loss="bce"):
            return BinaryCrossEntropy(config.scale)
        case PointwiseConfig():
            return Pointwise()
        case TripletHingeConfig():
            return TripletHinge(config.margin)
        case TripletLogisticConfig():
            return TripletLogistic(config.scale)
