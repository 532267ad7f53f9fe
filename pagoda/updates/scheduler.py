"""When updates run on one machine: full ones at a time of day, incremental ones every few minutes, none twice.

A moment that has passed while an update of its kind was at work is skipped: the next one learns all that was missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pagoda.errors import ConfigError
from pagoda.generations.state import ReleaseState

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UpdateKind(StrEnum):
    """Of an update."""

    FULL = "full"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, order=True)
class Due:
    """An update and the moment that it learns up to."""

    moment: datetime
    kind: UpdateKind


@dataclass(frozen=True)
class Timetable:
    """The moments of updates, in UTC."""

    every: timedelta
    """Between incremental updates, counted from the time of the full one."""
    full_at: timedelta = timedelta(0)
    """Time of day of the full update."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ConfigError: It says no time.
        """
        if not timedelta(seconds=1) <= self.every <= _DAY:
            raise ConfigError(f"incremental updates every {self.every}: must be between a second and a day")
        if not timedelta(0) <= self.full_at < _DAY:
            raise ConfigError(f"full updates at {self.full_at} after midnight: must be a time of day")

    def full_before(self, now: datetime) -> datetime:
        """The last moment of a full update, up to `now`."""
        since = (now - _EPOCH - self.full_at) % _DAY
        return now - since

    def incremental_before(self, now: datetime) -> datetime:
        """The last moment of an incremental update, up to `now`."""
        full = self.full_before(now)
        return full + (now - full) // self.every * self.every

    def after(self, moment: datetime) -> datetime:
        """The first moment of any update after `moment`."""
        full = self.full_before(moment)
        return min(self.incremental_before(moment) + self.every, full + _DAY)

    def due(self, full_done: datetime, incremental_done: datetime, now: datetime) -> list[Due]:
        """What is due at `now`: at most one of each kind, the newest, the full one first.

        Args:
            full_done: The moment up to which full updates have learned.
            incremental_done: The moment up to which incremental ones have, on what serves.
            now: The present.
        """
        full, incremental = self.full_before(now), self.incremental_before(now)
        found = [Due(full, UpdateKind.FULL)] if full > full_done else []
        # None at the moment of a full update: it would learn for the old base what the new one is about to know.
        if incremental > max(incremental_done, full):
            found.append(Due(incremental, UpdateKind.INCREMENTAL))
        return found


@dataclass(frozen=True)
class ScheduleProgress:
    """How far updates have come, as the release log says: so a killed scheduler goes on where it was."""

    full: datetime
    incremental: datetime

    @classmethod
    def of(cls, state: ReleaseState, beginning: datetime, lateness: timedelta) -> ScheduleProgress:
        """Read it off the log; `beginning` is when the data begins, `lateness` how long before now windows end."""
        if state.stable is None or state.champion is None:
            return cls(beginning, beginning)
        window = state.versions[state.champion].window
        return cls(window.end + lateness, state.generations[state.stable].window.end + lateness)


def walk(timetable: Timetable, start: datetime, end: datetime) -> Iterator[datetime]:
    """The moments from `start` to `end`, for going through data in its own time."""
    moment = start
    while (moment := timetable.after(moment)) <= end:
        yield moment
