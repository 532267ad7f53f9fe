"""The follower as a process."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from datetime import timedelta
from typing import Annotated

import typer
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, wait_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from pagoda.cli.options import HomeOption
from pagoda.errors import PagodaError
from pagoda.registry.live import GRACE
from pagoda.registry.log import open_log
from pagoda.settings import Settings, load_settings
from pagoda.telemetry import serve_metrics
from serving.tower.models import TowerModels
from serving.workers.follower import Follower
from serving.workers.metrics import Counted, Worker
from serving.workers.towers import LocalTowers, NoTowers, Towers

MetricsPort = Annotated[
    int, typer.Option(min=0, max=65535, help="Port that Prometheus is answered on, on every address; 0: none.")
]
_LONGEST_PAUSE_SECONDS = 5.0
_log = logging.getLogger(__name__)


def follow(worker: Worker, stop: threading.Event, poll_seconds: float) -> None:
    """Take a step every `poll_seconds` until `stop` is set; after a failure, less often."""
    retrying = Retrying(
        # Whatever it is, serving goes on with what is held, and the next look may fare better.
        retry=retry_if_exception_type(Exception),
        wait=wait_exponential(multiplier=poll_seconds, max=_LONGEST_PAUSE_SECONDS),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=_complain,
    )
    while not stop.is_set():
        try:
            retrying(worker.step)
        except RetryError:
            return  # It failed, and was told to stop.
        stop.wait(poll_seconds)


def follow_until_told(worker: Worker, poll_seconds: float, name: str, metrics_port: int) -> None:
    """`follow` until SIGTERM or SIGINT, and tell Prometheus of it under the worker's name.

    Raises:
        UnavailableError: The port of the metrics is taken.
    """
    serve_metrics(metrics_port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follow(Counted(worker, name), stop, poll_seconds)


def _complain(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    trace = None if isinstance(error, PagodaError | OSError) else error
    _log.warning("%s (try %d)", error, attempt.attempt_number, exc_info=trace)


def towers_of(settings: Settings) -> Towers:
    """The tower's server on this host, if Pagoda manages its models."""
    if not settings.tower.management_url:
        return NoTowers()
    return LocalTowers(TowerModels(settings.tower.management_url, settings.home / "archives"))


def main() -> None:
    """Run the follower until it is told to stop; an error made for people is printed as one line."""
    try:
        typer.run(_main)
    except PagodaError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _main(
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings(home)
    log = open_log(settings)
    follower = Follower(log, settings.tables_folder, towers_of(settings), grace=timedelta(seconds=grace))
    try:
        if once:
            stable = log.state().stable
            raise typer.Exit(stable is not None and stable not in follower.step().held)
        _log.info("following %s into %s", settings.log_url, settings.tables_folder)
        follow_until_told(follower, poll, "follower", metrics_port)
    finally:
        follower.close()
