"""The follower as a process."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Annotated

import typer

from pagoda.cli.options import HomeOption
from pagoda.registry.live import GRACE
from pagoda.registry.log import open_log
from pagoda.settings import Settings, load_settings
from serving import logs
from serving.tower.models import TowerModels
from serving.workers.follower import Follower
from serving.workers.run import MetricsPort, follow_until_told
from serving.workers.towers import LocalTowers, NoTowers, Towers

_log = logging.getLogger(__name__)


def main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the release log.")] = 0.25,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that a generation stays after it served.")
    ] = GRACE.total_seconds(),
    once: Annotated[
        bool, typer.Option("--once", help="Look once; fail when the stable generation is not held.")
    ] = False,
    metrics_port: MetricsPort = 0,
) -> None:
    """Bring to this host what live generations need."""
    settings = load_settings(home)
    logs.start(settings.logs)
    log = open_log(settings)
    follower = Follower(log, settings.tables_folder, _towers_of(settings), grace=timedelta(seconds=grace))
    try:
        if once:
            stable = log.state().stable
            raise typer.Exit(stable is not None and stable not in follower.step().held)
        _log.info("following %s into %s", settings.log_url, settings.tables_folder)
        follow_until_told(follower, poll, "follower", metrics_port)
    finally:
        follower.close()


def _towers_of(settings: Settings) -> Towers:
    """The tower's server on this host, if Pagoda manages its models."""
    if not settings.tower.management_url:
        return NoTowers()
    return LocalTowers(TowerModels(settings.tower.management_url, settings.home / "archives"))
