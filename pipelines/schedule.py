"""When a pipeline runs by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import kfp_server_api as api

from pagoda.errors import ConfigError

_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """A recurring run: without catch-up (one update learns all that was missed) and one at a time."""

    name: str
    cron: str = ""
    """Five fields, UTC."""
    every_minutes: int = 0

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ConfigError: It says no time, or two, or one that cron does not know.
        """
        if bool(self.cron) == bool(self.every_minutes):
            raise ConfigError(f"schedule {self.name!r}: give either cron or a number of minutes")
        if self.cron and len(self.cron.split()) != _FIELDS:
            raise ConfigError(f"schedule {self.name!r}: cron {self.cron!r} must have five fields, like '0 3 * * *'")
        if self.every_minutes < 0:
            raise ConfigError(f"schedule {self.name!r}: every {self.every_minutes} minutes; must be above 0")

    @property
    def trigger(self) -> dict[str, Any]:
        """As the arguments of Kubeflow's client; its cron begins with seconds."""
        if self.cron:
            return {"cron_expression": f"0 {self.cron}"}
        return {"interval_second": self.every_minutes * 60}

    def matches(self, trigger: api.V2beta1Trigger) -> bool:
        """Whether a recurring run has these times."""
        cron = trigger.cron_schedule.cron if trigger.cron_schedule else None
        seconds = int(trigger.periodic_schedule.interval_second) if trigger.periodic_schedule else None
        return self.trigger == ({"cron_expression": cron} if cron else {"interval_second": seconds})
