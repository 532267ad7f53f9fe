"""What a replay found, as one document."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict

from pagoda.data.window import Window
from pagoda.evaluation.report import Estimate
from pagoda.replay.plan import Policy, ReplayConfig


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(_Model):
    """One policy minus another, on the same rows and the same resampled users."""

    policy: Policy
    minus: Policy
    metrics: dict[str, Estimate]

    @property
    def name(self) -> str:
        """For people: `full+incremental minus full`."""
        return f"{self.policy} minus {self.minus}"


class Figures(_Model):
    """All policies on the same rows."""

    rows: int
    users: int
    policies: dict[Policy, dict[str, Estimate]]
    """By metric: `recall@50`, `ndcg@10`."""
    paired: tuple[Difference, ...]


class Hour(_Model):
    """One hour of the log; an hour in which nothing was asked is left out."""

    start: AwareDatetime
    figures: Figures


class HourOfDay(_Model):
    """The same hour of all days, counted from the full update."""

    hour: int
    figures: Figures


class Cost(_Model):
    """What a policy's updates took after the first version, which all policies share."""

    seconds: float
    """Wall time of the updates, from reading the log to the written files."""
    cpu_seconds: float
    """The same in time of processors, whatever else runs on the machine."""
    full_updates: int
    incremental_updates: int


class ReplayReport(_Model):
    """A replay of all policies."""

    config: ReplayConfig
    first: Window
    """What the first version learned."""
    first_seconds: float
    window: Window
    """The time that was replayed."""
    history: int
    """Length of the history that the user tower sees, as of each question's moment; 0 for none."""
    available: int
    """Positives in `window`, of which `overall.rows` and `repeats` were drawn."""
    repeats: int
    """Drawn but not asked: the user had the item before."""
    items: int
    overall: Figures
    costs: dict[Policy, Cost]
    hours: tuple[Hour, ...]
    since_full: tuple[HourOfDay, ...]
