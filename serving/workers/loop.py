"""A worker's steps, one after the other until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
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


def follow(worker: Worker, stop: threading.Event, poll_seconds: float, name: str) -> None:
    """Take a step every `poll_seconds` until `stop` is set; after a failure, which is told by `name`, less often."""
    retrying = Retrying(
        # Whatever it is, serving goes on with what is held, and the next look may fare better.
        retry=retry_if_exception_type(Exception),
        wait=wait_exponential(multiplier=poll_seconds, max=_LONGEST_PAUSE_SECONDS),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=partial(_complain, name),
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
    follow(Counted(worker, name), told_to_stop(), poll_seconds, name)


def told_to_stop() -> threading.Event:
    """Is set when this process is told to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def run_together(loops: Mapping[str, Callable[[], None]], stop: threading.Event) -> None:
    """Run workers' loops, each in a thread of its own, until `stop` is set.

    One that ends by itself ends all, and the process with exit status 1: whoever started it starts it again.
    """
    failed = False
    with ThreadPoolExecutor(len(loops), "worker") as threads:
        running = {threads.submit(loop): name for name, loop in loops.items()}
        for ended in as_completed(running):
            if (error := ended.exception()) or not stop.is_set():
                _log.critical("%s has ended; so do all in this process", running[ended], exc_info=error)
                failed = True
            stop.set()
    if failed:
        raise SystemExit(1)


def _complain(name: str, attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    trace = None if isinstance(error, PagodaError | OSError) else error
    why = reason(error) if error else "it failed"
    _log.warning("%s: %s (try %d)", name, why, attempt.attempt_number, exc_info=trace)
