"""How a rollout goes: its steps, what each must show, how long it may wait."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, ValidationError, field_validator, model_validator

from pagoda.config.model import Section
from pagoda.errors import ConfigError, explain
from pagoda.rollout.online_gates import OnlineGates
from pagoda.yaml_text import load_yaml


class Stay(Section):
    """How long a phase lasts, and what it must have seen before it can end well."""

    minimum_seconds: float = Field(default=300, ge=0)
    maximum_seconds: float = Field(default=86_400, gt=0)
    """Waiting longer than this for traffic, outcomes or capacity rolls the candidate back: no answer is no pass."""
    minimum_requests: int = Field(default=1_000, ge=1)
    """Requests that each arm must have answered."""

    @model_validator(mode="after")
    def _possible(self) -> Stay:
        if self.maximum_seconds <= self.minimum_seconds:
            raise ValueError(f"maximum_seconds must exceed minimum_seconds ({self.minimum_seconds:g})")
        return self


class Step(Stay):
    """One share of the users in the canary arm."""

    percent: int = Field(ge=1, le=99)
    """Of users. A whole number, because KServe's traffic fields hold nothing finer."""


class ShadowStep(Stay):
    """Requests copied to the candidate before any user sees its answers."""

    percent: int = Field(default=10, ge=1, le=100)
    """Of users."""


class OfflineGates(Section):
    """What a candidate must show before it sees a user."""

    recall_tolerance: float = Field(default=0.1, ge=0, lt=1)
    """Largest loss of recall against the champion on the same rows that is still fine, relative."""
    recall_alpha: float = Field(default=0.025, gt=0, lt=0.5)
    """Error of the bootstrap interval at its lower end."""
    minimum_rows: int = Field(default=100, ge=2)
    ann_recall: float = Field(default=0.95, gt=0, le=1)
    """Recall of the approximate search against the exact one."""
    norm_tolerance: float = Field(default=1e-3, gt=0)
    """Largest distance of an item vector's length from one."""
    spread: float = Field(default=0.05, gt=0, lt=1)
    """Smallest part of the vectors' variance outside their mean; vectors that all point one way have none."""


class RolloutPolicy(Section):
    """From a registered candidate to all traffic."""

    shadow: ShadowStep | None = None
    """Mirror requests to the candidate and drop its answers before any user sees it. None: not."""
    steps: tuple[Step, ...] = (Step(percent=1), Step(percent=10), Step(percent=50, minimum_seconds=600))
    prepare_seconds: float = Field(default=1_800, gt=0)
    """How long the candidate may take to be loaded."""
    grace_seconds: float = Field(default=3_600, ge=0)
    """How long the previous generation stays loaded after promotion."""
    drain_seconds: float = Field(default=60, ge=0)
    """How long a generation that no arm names any more stays loaded, for requests under way."""
    offline: OfflineGates = OfflineGates()
    online: OnlineGates = OnlineGates()

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        percents = [step.percent for step in steps]
        if percents != sorted(set(percents)):
            raise ValueError(f"percents must rise from step to step (got {percents})")
        return steps

    def alpha(self, gate: str) -> float:
        """The error that one online gate may make in one phase.

        Bonferroni over phases with traffic and over gates: half of the family error for what users do, whose
        differences are small, the rest for the others, which look for gross faults and need little; each half in equal
        parts.
        """
        faults, responses = self.online.faults, self.online.responses
        phases = len(self.steps) + (self.shadow is not None)
        if not faults or not responses:
            return self.online.family_error / (max(len(faults) + len(responses), 1) * max(phases, 1))
        beside = responses if gate in responses else faults
        return self.online.family_error / 2 / len(beside) / max(phases, 1)

    @property
    def grace(self) -> timedelta:
        """See `grace_seconds`."""
        return timedelta(seconds=self.grace_seconds)

    @property
    def drain(self) -> timedelta:
        """See `drain_seconds`."""
        return timedelta(seconds=self.drain_seconds)


FULL = RolloutPolicy()
"""For a full update: tower and index change together."""

INCREMENTAL = RolloutPolicy(
    steps=(Step(percent=10, minimum_seconds=30, maximum_seconds=600, minimum_requests=200),),
    prepare_seconds=300,
    grace_seconds=60,
    online=OnlineGates(clicks=None),
)
"""For an incremental update: user rows alone change, tens of minutes apart, so clicks cannot be awaited."""


def read_policy(path: Path) -> RolloutPolicy:
    """The policy in a YAML file.

    Raises:
        ConfigError: It cannot be read, a key is unknown, or a value is wrong.
    """
    try:
        return parse_policy(path.read_text(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the rollout policy ({error.strerror})") from error


def parse_policy(text: str, where: str) -> RolloutPolicy:
    """The policy in a YAML text that was found `where`.

    Raises:
        ConfigError: It is not YAML, a key is unknown, or a value is wrong.
    """
    try:
        return RolloutPolicy.model_validate(load_yaml(text, where) or {})
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from error
