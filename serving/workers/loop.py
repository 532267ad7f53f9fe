"""A worker's steps, one after the other until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, wait_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from pagoda.errors import PagodaError
from pagoda.settings import HOME_VARIABLE
from pagoda.telemetry.endpoint import Page, serve_metrics
from serving.error_reasons import reason
from serving.workers.metrics import Counted, Worker

HomeOption = Annotated[
    Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Folder with this installation's state [.pagoda].")
]
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


def follow_until_told(
    worker: Worker, poll_seconds: float, name: str, metrics_port: int, pages: Mapping[str, Page] | None = None
) -> None:
    """`follow` until SIGTERM or SIGINT, and tell Prometheus of it under the worker's name.

    Args:
        worker: What follows.
        poll_seconds: Between its steps.
        name: The worker's.
        metrics_port: Where Prometheus is answered; 0: nowhere.
        pages: What else is answered there, by path.

    Raises:
        UnavailableError: The port of the metrics is taken.
    """
    serve_metrics(metrics_port, pages)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follow(Counted(worker, name), stop, poll_seconds)


def _complain(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    trace = None if isinstance(error, PagodaError | OSError) else error
    why = reason(error) if error else "it failed"
    _log.warning("%s (try %d)", why, attempt.attempt_number, exc_info=trace)
