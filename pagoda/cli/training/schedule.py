"""`pagoda schedule run`: full and incremental updates on one machine, by themselves."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import HomeOption, config_text
from pagoda.cli.training.update import DatasetOption
from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from pagoda.updates.scheduler import Timetable

app = typer.Typer(name="schedule", help="Run updates by themselves on this machine.", no_args_is_help=True)


class ClockChoice(StrEnum):
    """Whose time it is."""

    WALL = "wall"
    DATA = "data"


@app.callback()
def _group() -> None:
    """Keep `run` a command of its own, though it is the only one."""


@app.command()
def run(
    *,
    data: DatasetOption,
    every: Annotated[str, typer.Option(help="Between incremental updates: 20m, 1h, 90s.")] = "20m",
    full_at: Annotated[str, typer.Option(help="Time of day of the full update, UTC, HH:MM.")] = "00:00",
    clock: Annotated[
        ClockChoice,
        typer.Option(help="wall: as time passes; data: through the data's own time as fast as it goes, then end."),
    ] = ClockChoice.WALL,
    config: Annotated[Path | None, typer.Option(help="Training configuration (YAML); default: the defaults.")] = None,
    home: HomeOption = None,
) -> None:
    """Full updates once a day, incremental ones in between; what is late or overlaps is skipped, nothing runs twice."""
    from pagoda.settings import load_settings
    from pagoda.standalone.endpoints import settle_dataset
    from pagoda.updates.exclusive import exclusive
    from pipelines.update_scheduler import Scheduler

    timetable, training = _timetable(every, full_at), config_text(config)
    settings = load_settings(home)
    scheduler = Scheduler(settings, data, timetable, training, typer.echo)
    if told := settle_dataset(settings, data):
        typer.echo(told)
    with exclusive(settings.home, "schedule"):
        try:
            if clock is ClockChoice.DATA:
                scheduler.through_data()
            else:
                scheduler.through_time()
        except KeyboardInterrupt:
            typer.echo("Stopping; a full update that is at work ends first. Interrupt again to end it now.")
            scheduler.close()


def _timetable(every: str, full_at: str) -> Timetable:
    from pagoda.updates.scheduler import Timetable

    found = re.fullmatch(r"(\d+)([smh])", every)
    if not found:
        raise ConfigError(f"--every {every!r}: must be a number and s, m or h, like 20m")
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[found[2]]
    time = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", full_at)
    if not time:
        raise ConfigError(f"--full-at {full_at!r}: must be a time of day, like 00:00")
    return Timetable(timedelta(**{unit: int(found[1])}), timedelta(hours=int(time[1]), minutes=int(time[2])))
