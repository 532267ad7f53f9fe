"""What the towers are made of, as declared in a training configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class Section(BaseModel):
    """A part of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mlp(Section):
    """Fully connected layers with ReLU."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[PositiveInt, ...] = Field(default=(128,), min_length=1)
    """Widths of the layers."""


class MeanPooling(Section):
    """The mean of the history's item rows."""

    kind: Literal["mean"] = "mean"


class DecayPooling(Section):
    """Means weighted by 2^(-age / half-life), one for each half-life; the half-lives are learned from here on."""

    kind: Literal["decay"] = "decay"
    half_lives_seconds: tuple[PositiveFloat, ...] = Field(default=(60.0, 3600.0, 86_400.0), min_length=1)


Pooling = Annotated[MeanPooling | DecayPooling, Field(discriminator="kind")]


class TowerConfig(Section):
    """One tower: what lies between its inputs and the projection to the vector."""

    blocks: tuple[Mlp, ...] = (Mlp(),)


class ModelConfig(Section):
    """Both towers."""

    dim: PositiveInt = 64
    """Length of vectors and of ID rows."""
    feature_dim: PositiveInt = 16
    """Length of a feature value's embedding."""
    history: Pooling = DecayPooling()
    """Used where the dataset declares a history."""
    user: TowerConfig = TowerConfig()
    item: TowerConfig = TowerConfig()
