"""What happens when somebody kills or suspends the supervisor, its guardian or a service; Redis stands for all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from pagoda.standalone.platform import Platform
from pagoda.standalone.servers.health import Silence, always_healthy
from pagoda.standalone.servers.service import Service
from pagoda.standalone.status import Health, ServiceStatus
from pagoda.standalone.supervision import pulse as pulses
from pagoda.standalone.supervision.keeper import Kept
from pagoda.standalone.supervision.processes import GUARDIAN, SUPERVISOR, processes_of, wait_ended

pytestmark = pytest.mark.integration


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path / "home")
    yield platform
    platform.down()
    assert processes_of(platform.home) == []


def _redis(platform: Platform) -> ServiceStatus:
    return next(service for service in platform.status() if service.name == "redis")


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # It may go between any two looks.
        return True


def _wait(condition: Callable[[], object], seconds: float = 60) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - begin


def _signal(platform: Platform, service: str, number: int) -> int:
    (process,) = processes_of(platform.home, service)
    process.send_signal(number)
    return process.pid


def _guarded(platform: Platform, *, instead_of: int) -> bool:
    """Whether another supervisor runs, and its guardian."""
    supervisors = [process.pid for process in processes_of(platform.home, SUPERVISOR)]
    return bool(supervisors and supervisors != [instead_of] and processes_of(platform.home, GUARDIAN))


@contextmanager
def _running(*command: str) -> Iterator[int]:
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


class _Asking:
    """Asks Redis without a pause, and counts the requests that fail."""

    def __init__(self, url: str) -> None:
        self.asked, self.lost = 0, 0
        self._client, self._stop = redis.Redis.from_url(url), threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> _Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.wait(0.001):
            self.asked += 1
            try:
                self._client.incr("asked")
            except redis.RedisError:
                self.lost += 1


@pytest.mark.parametrize("attached", [True, False])
def test_a_killed_supervisor_is_replaced_by_one_that_adopts_what_runs(mine: Platform, attached: bool) -> None:
    url = mine.up(["redis"], attached=attached).redis.url
    pid = _redis(mine).pid
    with _Asking(url) as asking:
        for _ in range(3):
            _wait(lambda: _guarded(mine, instead_of=0))
            killed = _signal(mine, SUPERVISOR, signal.SIGKILL)
            _wait(lambda: _guarded(mine, instead_of=killed) and _redis(mine).health == Health.HEALTHY, 30)  # noqa: B023
    assert asking.asked and not asking.lost
    assert _redis(mine).pid == pid
    os.kill(pid or 0, signal.SIGKILL)
    _wait(lambda: _redis(mine).pid not in (None, pid) and _redis(mine).health == Health.HEALTHY)
    assert "takes its place" in mine.log(SUPERVISOR).read_text()
    everything = processes_of(mine.home)
    assert mine.down()
    assert wait_ended(everything, 0) == []


def test_the_status_is_never_that_all_is_down_while_a_new_supervisor_comes(mine: Platform) -> None:
    mine.up(["redis"])
    _wait(lambda: _guarded(mine, instead_of=0))
    _signal(mine, SUPERVISOR, signal.SIGKILL)
    assert _redis(mine).pid


def test_a_suspended_supervisor_is_replaced(mine: Platform) -> None:
    mine.up(["redis"])
    pid = _redis(mine).pid
    _wait(lambda: _guarded(mine, instead_of=0))
    suspended = _signal(mine, SUPERVISOR, signal.SIGSTOP)
    _wait(lambda: _guarded(mine, instead_of=suspended), 40)
    assert _redis(mine).pid == pid


def test_a_killed_guardian_is_started_again(mine: Platform) -> None:
    mine.up(["redis"])
    _wait(lambda: _guarded(mine, instead_of=0))
    killed = _signal(mine, GUARDIAN, signal.SIGKILL)
    _wait(lambda: [process.pid for process in processes_of(mine.home, GUARDIAN)] not in ([], [killed]), 10)


def test_a_service_that_was_stopped_stays_so_under_the_next_supervisor(mine: Platform) -> None:
    mine.up(["redis"])
    _wait(lambda: _guarded(mine, instead_of=0))
    mine.stop(["redis"])
    killed = _signal(mine, SUPERVISOR, signal.SIGKILL)
    _wait(lambda: _guarded(mine, instead_of=killed))
    assert _redis(mine).health == Health.STOPPED
    mine.start(["redis"])


def test_what_nobody_guards_any_more_ends_by_itself_and_so_does_what_is_killed_at_once(mine: Platform) -> None:
    mine.up(["redis"])
    _wait(lambda: _guarded(mine, instead_of=0))
    for process in (*processes_of(mine.home, GUARDIAN), *processes_of(mine.home, SUPERVISOR)):
        process.kill()
    _wait(lambda: not processes_of(mine.home), 60)
    mine.up(["redis"])
    _wait(lambda: _guarded(mine, instead_of=0))
    held: list[psutil.Process] = []
    while new := [process for process in processes_of(mine.home) if process not in held]:
        for process in new:  # At once, also on a busy machine, where one may still start another.
            process.suspend()
        held += new
    for process in held:
        process.kill()
    assert wait_ended(held, 10) == processes_of(mine.home) == []


def test_the_foreground_command_goes_on_under_a_new_supervisor_and_takes_that_with_it(mine: Platform) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "pagoda", "up", "redis", "--home", str(mine.home)], stdout=subprocess.PIPE, text=True
    )
    assert command.stdout
    next(line for line in command.stdout if "The platform is up" in line)
    _wait(lambda: _guarded(mine, instead_of=0))
    killed = _signal(mine, SUPERVISOR, signal.SIGKILL)
    _wait(lambda: _guarded(mine, instead_of=killed) and _redis(mine).health == Health.HEALTHY)
    assert command.poll() is None
    command.kill()
    _wait(lambda: not processes_of(mine.home), 30)
    command.communicate()


def test_the_foreground_command_fails_when_supervisor_and_guardian_are_killed(mine: Platform) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "pagoda", "up", "redis", "--home", str(mine.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout
    next(line for line in command.stdout if "The platform is up" in line)
    _wait(lambda: _guarded(mine, instead_of=0))
    for process in (*processes_of(mine.home, GUARDIAN), *processes_of(mine.home, SUPERVISOR)):
        process.kill()
    _, complaint = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "the supervisor died, and none took its place" in complaint
    assert processes_of(mine.home) == []


def test_a_suspended_service_is_killed_and_started_again_within_20_s(mine: Platform) -> None:
    mine.up(["redis"])
    pid = _redis(mine).pid or 0
    os.kill(pid, signal.SIGSTOP)
    _wait(lambda: _ended(pid), 20)
    _wait(lambda: _redis(mine).health == Health.HEALTHY)
    assert f"redis (pid {pid}) hangs" in mine.log(SUPERVISOR).read_text()


def test_a_service_that_computes_has_longer_than_one_that_does_nothing(
    mine: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulses, "_SILENT_SECONDS", 0.0)
    service = Service("hangs", (), lambda: Silence("no answer"), always_healthy, mine.home, start_seconds=0)
    with _running(sys.executable, "-c", "while True: pass") as busy, _running("sleep", "60") as idle:
        judged = {process: pulses.Pulse(service) for process in (busy, idle)}
        for _ in range(2):
            for process, one in judged.items():
                assert one.look(Kept.now(process)) is None
        used = psutil.Process(busy).cpu_times().user
        _wait(lambda: psutil.Process(busy).cpu_times().user > used + 0.3)
        said = {process: one.look(Kept.now(process)) for process, one in judged.items()}
    assert said[busy] is None and "no answer" in (said[idle] or "")
