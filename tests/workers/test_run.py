"""The follower's loop goes on whatever happens, and stops when told."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from pagoda.errors import UnavailableError
from pagoda.generations.holding import Holding
from serving.workers.loop import follow, run_together

from .conftest import Host


class Stumbling:
    """Fails in each of the ways given, then stops its own loop."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.stop, self.steps = list(failures), threading.Event(), 0

    def step(self) -> Holding:
        self.steps += 1
        if self.failures:
            raise self.failures.pop(0)
        self.stop.set()
        return Holding(head=0, current=None, held=())


def test_failures_are_told_and_outlived(caplog: pytest.LogCaptureFixture) -> None:
    stumbling = Stumbling(UnavailableError("log: no answer"), OSError("disk"), RuntimeError("a bug"))
    with caplog.at_level(logging.WARNING):
        follow(stumbling, stumbling.stop, 0.001, "sink")  # type: ignore[arg-type]
    assert stumbling.steps == 4
    assert "sink: log: no answer (try 1)" in caplog.text and "Traceback" in caplog.text  # of the bug only
    assert caplog.text.count("Traceback") == 1


def test_a_loop_that_only_fails_stops_when_told() -> None:
    stumbling = Stumbling(*[UnavailableError("down")] * 100_000)
    thread = threading.Thread(target=follow, args=(stumbling, stumbling.stop, 0.001, "sink"))
    thread.start()
    stumbling.stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_of_workers_in_one_process_one_that_ends_by_itself_is_named_and_ends_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = threading.Event()
    with pytest.raises(SystemExit, match="1"):
        run_together({"sink": sys.exit, "items": stop.wait}, stop)
    assert "sink has ended" in caplog.text and "items" not in caplog.text
    run_together({"sink": stop.wait, "items": stop.wait}, stop)  # Told to stop, they end well.
    stop.clear()
    with pytest.raises(SystemExit):
        run_together({"sink": lambda: None, "items": stop.wait}, stop)


def test_a_host_at_rest_writes_nothing(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    host.follower.step()
    host.follower.close()  # Compaction in the background has ended.
    before = {path: path.stat().st_mtime_ns for path in host.folder.rglob("*")}
    for _ in range(3):
        host.follower.step()
    assert {path: path.stat().st_mtime_ns for path in host.folder.rglob("*")} == before
