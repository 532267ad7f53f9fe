"""Objectives and distillation, as declared in a training configuration."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pagoda.config.distillation import DistillationConfig
from pagoda.config.objective import (
    ListwiseConfig,
    ObjectiveConfig,
    PointwiseConfig,
    TripletHingeConfig,
    TripletLogisticConfig,
)
from pagoda.model.losses.comparisons import (
    BinaryCrossEntropy,
    Pointwise,
    TripletHinge,
    TripletLogistic,
    calibrating_beta,
)
from pagoda.model.losses.distillation import listwise_distillation, margin_distillation
from pagoda.model.losses.objective import LearnedTemperature, ListwiseSoftmax, Objective


def build_objective(config: ObjectiveConfig, items: int) -> Objective:
    """The objective that is declared, over a catalogue of so many items; an `nn.Module` where it learns something."""
    match config:
        case ListwiseConfig(learn_temperature=True):
            return LearnedTemperature(config.temperature)
        case ListwiseConfig():
            return ListwiseSoftmax(config.temperature)
        case PointwiseConfig(loss="bce"):
            t = config.calibration
            return BinaryCrossEntropy(config.scale, calibrating_beta(t, config.negatives, items) if t else 1.0)
        case PointwiseConfig():
            return Pointwise()
        case TripletHingeConfig():
            return TripletHinge(config.margin)
        case TripletLogisticConfig():
            return TripletLogistic(config.scale)


def learned_by(objectives: Sequence[Objective]) -> nn.Module:
    """What objectives learn, by name; of several by their number too."""
    if len(objectives) == 1 and isinstance(objectives[0], nn.Module):
        return objectives[0]
    return nn.ModuleDict({str(number): each for number, each in enumerate(objectives) if isinstance(each, nn.Module)})


def temperature_of(objective: Objective, config: ObjectiveConfig) -> Tensor | float:
    """What cosines are divided by to be logits, as it is now."""
    return objective.temperature if isinstance(objective, LearnedTemperature) else config.temperature


def distillation_loss(config: DistillationConfig, student: Tensor, teacher: Tensor) -> Tensor:
    """The loss that is declared, weighted; arguments as for `pagoda.model.losses.distillation`."""
    if config.kind == "margin":
        return config.weight * margin_distillation(student, teacher)
    return config.weight * listwise_distillation(student, teacher, config.temperature)
