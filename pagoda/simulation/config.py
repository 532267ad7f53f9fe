"""The settings of a simulated world, and what each strength of drift means.

They are fixed here, before any result that they lead to; a benchmark chooses among them and changes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pagoda.data.window import Window, to_us
from pagoda.errors import ConfigError, DataError, explain
from pagoda.yaml_text import load_yaml

WORLD_FILE = "world.yaml"
HOUR_US = 3_600_000_000
_FIRST_YEAR = 2000


class Drift(StrEnum):
    """How much interests move."""

    NONE = "none"
    LOW = "low"
    DEFAULT = "default"
    HIGH = "high"


@dataclass(frozen=True)
class Shots:
    """Interests that appear at once and fade: in each window of `every_hours` a user has one with some chance.

    A shot pulls the user's interest towards one topic, by `pull` relative to the user's lasting interest (length 1)
    at first, and by half of it after each `half_life_hours`.
    """

    pull: float
    every_hours: float
    half_life_hours: float
    chance: float = 1.0


@dataclass(frozen=True)
class Motion:
    """All that moves an interest."""

    wander: Shots
    """A slow walk: small, frequent, fading over a week."""
    shift: Shots
    """Abrupt and lasting: a new hobby."""
    trend: Shots
    """What a user is after for some hours. This is what an update every tens of minutes can catch."""
    rhythm: float
    """Pull of the topic that a user turns to and from in the course of each day."""


def _motion(strength: float) -> Motion:
    return Motion(
        wander=Shots(0.25 * strength, every_hours=48, half_life_hours=168),
        shift=Shots(1.2 * strength, every_hours=240, half_life_hours=720, chance=0.5),
        trend=Shots(1.6 * strength, every_hours=12, half_life_hours=6),
        rhythm=0.3 * strength,
    )


MOTIONS = {
    Drift.NONE: _motion(0.0),
    Drift.LOW: _motion(0.4),
    Drift.DEFAULT: _motion(1.0),
    Drift.HIGH: _motion(1.8),
}


class WorldConfig(BaseModel):
    """Everything that a world follows from; kept beside its data as `world.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: int = Field(default=5_000, ge=1)
    items: int = Field(default=2_000, ge=24)
    days: int = Field(default=14, ge=1, le=3650)
    events: int = Field(default=5_000_000, ge=1)
    """Rows to aim at; what comes is within a few per cent."""
    drift: Drift = Drift.DEFAULT
    seed: int = Field(default=0, ge=0)
    start: AwareDatetime = datetime(2024, 1, 1, tzinfo=UTC)
    """Midnight UTC of the first day."""
    new_users: float = Field(default=0.05, ge=0, le=0.9)
    """Share of the users who arrive after the start, evenly over the days."""
    new_items: float = Field(default=0.1, ge=0, le=0.9)
    """Share of the items that arrive after the start."""

    tastes: int = Field(default=1, ge=1, le=4)
    """Lasting interests that a user has at once, each around other topics: what is near to one of them is liked."""
    topics: int = Field(default=24, ge=2, le=255)
    dim: int = Field(default=16, ge=2)
    candidates: int = Field(default=8, ge=2)
    """Items that the world's own recommender finds for a request."""
    shown: int = Field(default=5, ge=1)
    """How many of them its ranker shows; the others are `ranking_rejected`."""

    @model_validator(mode="after")
    def _consistent(self) -> WorldConfig:
        if self.shown >= self.candidates:
            raise ValueError(
                f"shown {self.shown} must be less than candidates {self.candidates}: the ranker drops some"
            )
        if self.tastes > self.topics:
            raise ValueError(f"tastes {self.tastes} must not be more than topics {self.topics}: each has its own")
        if to_us(self.start) % (24 * HOUR_US) or self.start.year < _FIRST_YEAR:
            raise ValueError(f"start {self.start.isoformat()} must be a midnight UTC, from {_FIRST_YEAR} on")
        return self

    @property
    def window(self) -> Window:
        """The time that the world covers."""
        return Window(start=self.start, end=self.start + timedelta(days=self.days))

    @property
    def motion(self) -> Motion:
        """What moves interests at this drift."""
        return MOTIONS[self.drift]


def make_config(settings: Mapping[str, Any], where: str = "world") -> WorldConfig:
    """A world's settings from plain values.

    Raises:
        ConfigError: A value is out of range; the message names it and `where`.
    """
    try:
        return WorldConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from error


def read_config(path: Path) -> WorldConfig:
    """Read `world.yaml` of the dataset folder `path`.

    Raises:
        DataError: There is none.
        ConfigError: It does not hold a world's settings.
    """
    file = path / WORLD_FILE
    try:
        raw = load_yaml(file.read_text(), str(file))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); `pagoda simulate` makes a world") from error
    return make_config(raw, str(file))


def write_config(config: WorldConfig, path: Path) -> None:
    """Write `world.yaml` into the dataset folder `path`."""
    (path / WORLD_FILE).write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
