"""When a replay learns and answers, and under which policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pagoda.data.window import Window
from pagoda.errors import DataError

DAY = timedelta(days=1)


class Policy(StrEnum):
    """Which updates follow the first version."""

    FROZEN = "frozen"
    FULL = "full"
    INCREMENTAL = "incremental"
    BOTH = "full+incremental"

    @property
    def full(self) -> bool:
        """Full updates, daily or every few days."""
        return self in (Policy.FULL, Policy.BOTH)

    @property
    def incremental(self) -> bool:
        """Incremental updates, within the day."""
        return self in (Policy.INCREMENTAL, Policy.BOTH)


class ReplayConfig(BaseModel):
    """How to walk a log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Annotated[timedelta, Field(ge=timedelta(minutes=1), le=DAY)] = timedelta(minutes=30)
    """Between incremental updates, counted from each full update's moment."""
    full_at: time = time()
    """UTC time of day of the full update."""
    window_days: Annotated[int, Field(ge=1)] = 1
    """Days that a full update learns, and so from one to the next."""
    first: Annotated[timedelta, Field(gt=timedelta())] = timedelta(days=3)
    """How much the first version learns, to the nearest moment of a full update."""
    policies: tuple[Policy, ...] = Field(tuple(Policy), min_length=1)
    rows: Annotated[int, Field(ge=1)] = 200_000
    """Most positives to ask; of more, this many are drawn."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the draw and of the intervals."""


@dataclass(frozen=True)
class ReplayPlan:
    """A first version's window, and the days after it."""

    first: Window
    days: tuple[Window, ...]
    """From one full update to the next, each `window_days` long; the last one ends with the log."""
    every: timedelta

    @property
    def window(self) -> Window:
        """The time in which questions are asked."""
        return Window(start=self.first.end, end=self.days[-1].end)

    def steps(self, day: Window) -> Iterator[Window]:
        """The windows of a day's incremental updates."""
        start = day.start
        while start < day.end:
            end = min(start + self.every, day.end)
            yield Window(start=start, end=end)
            start = end

    @property
    def step_count(self) -> int:
        """Number of steps in all days."""
        return sum(-(-(day.end - day.start) // self.every) for day in self.days)


def make_plan(span: Window, config: ReplayConfig) -> ReplayPlan:
    """Lay the days of a log's `span` out.

    Raises:
        DataError: Nothing is left in the first version's window, or after it.
    """
    begin = _nearest(span.start + config.first, config.full_at)
    if not span.start < begin < span.end:
        raise DataError(
            f"the first version would learn up to {begin.isoformat()}, which is not inside the log, "
            f"{span.start.isoformat()} to {span.end.isoformat()}; choose another length for its window"
        )
    days = []
    start = begin
    while start < span.end:
        days.append(Window(start=start, end=min(start + config.window_days * DAY, span.end)))
        start = days[-1].end
    return ReplayPlan(Window(start=span.start, end=begin), tuple(days), config.every)


def _nearest(moment: datetime, at: time) -> datetime:
    """The moment nearest to `moment` that has the UTC time of day `at`."""
    same_day = datetime.combine(moment.date(), at, moment.tzinfo)
    return same_day + DAY * round((moment - same_day) / DAY)
