"""The workers of one machine and the rollout driver in one process, each in a thread of its own.

`python -m serving.workers` runs it where memory counts: four processes would hold the same libraries four times.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from pagoda.rollout.factory import open_driver
from pagoda.rollout.loop import EVERY_SECONDS, drive
from pagoda.settings import Settings, load_settings
from serving import logs
from serving.workers import follower, items, sink
from serving.workers.loop import HomeOption, follow, run_together, told_to_stop
from serving.workers.metrics import Counted, Worker

_LOCAL = "local"


class _Driver:
    """The driver's loop as one step: where it fails, by a damaged log, say, it is begun anew and ends no other."""

    def __init__(self, settings: Settings, stop: Event) -> None:
        self._settings, self._stop = settings, stop
        self._driver = open_driver(settings, _LOCAL)

    def step(self) -> None:
        """Drive until told to stop."""
        drive(self._driver, self._settings, _LOCAL, EVERY_SECONDS, self._stop)


def main(home: HomeOption = None) -> None:
    """Follow, file events, bring item changes in and carry rollouts out, until told to stop."""
    settings = load_settings(home)
    logs.start(settings.logs)
    stop, delivery = told_to_stop(), ThreadPoolExecutor(1, "delivery")
    with follower.open_follower(settings, thread=delivery) as following, items.open_item_worker(settings) as bringing:
        loops = {
            "follower": partial(_follow, following, stop, follower.POLL_SECONDS, "follower"),
            "sink": partial(_file, sink.open_sink(settings), stop),
            "items": partial(_follow, bringing, stop, items.POLL_SECONDS, "items"),
        }
        if settings.rollout.backend in ("", _LOCAL):  # Else somebody else's driver carries them out.
            loops["rollout"] = partial(follow, _Driver(settings, stop), stop, EVERY_SECONDS, "rollout")
        run_together(loops, stop)


def _follow(worker: Worker, stop: Event, poll_seconds: float, name: str) -> None:
    follow(Counted(worker, name), stop, poll_seconds, name)


def _file(filing: sink.Sink, stop: Event) -> None:
    os.nice(sink.NICE)  # Of this thread alone, on Linux: nice(2), "C library/kernel differences".
    _follow(filing, stop, sink.POLL_SECONDS, "sink")


if __name__ == "__main__":
    from serving.process import run

    run(main)
