"""The platform's life, with Redis alone: the smallest of its services stands for all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from pagoda.errors import ConfigError, ConflictError, UnavailableError
from pagoda.standalone.platform import Platform
from pagoda.standalone.status import Health, ServiceStatus
from pagoda.standalone.supervision.processes import processes_of, wait_ended

pytestmark = pytest.mark.integration


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path / "a home")
    yield platform
    platform.down()
    assert processes_of(platform.home) == []


def _redis(platform: Platform) -> ServiceStatus:
    return next(service for service in platform.status() if service.name == "redis")


def _wait(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _cli(platform: Platform, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pagoda", *arguments, "--home", str(platform.home)]


def test_a_killed_service_comes_back_with_its_data_and_down_leaves_nothing(mine: Platform) -> None:
    told: list[ServiceStatus] = []
    settings = mine.up(["redis"], attached=True, report=told.extend)
    assert told[-1].health == Health.HEALTHY
    redis.Redis.from_url(settings.redis.url).set("key", "value")

    first = _redis(mine)
    assert first.health == Health.HEALTHY and first.rss_bytes > 1 << 20
    os.kill(first.pid or 0, signal.SIGKILL)
    _wait(lambda: _redis(mine).pid not in (None, first.pid) and _redis(mine).health == Health.HEALTHY)
    assert redis.Redis.from_url(settings.redis.url).get("key") == b"value"

    started = processes_of(mine.home)
    assert mine.down()
    assert wait_ended(started, 0) == []
    assert _redis(mine).health == Health.STOPPED
    assert not mine.down()

    assert mine.up(["redis"], attached=True).redis.url == settings.redis.url
    assert redis.Redis.from_url(settings.redis.url).get("key") == b"value"


def test_what_others_could_read_is_closed_and_told(mine: Platform) -> None:
    secret = mine.home / "dataset" / "users.parquet"
    secret.parent.mkdir(parents=True)
    mine.home.chmod(0o700)
    secret.write_text("profiles")
    secret.chmod(0o644)
    secret.parent.chmod(0o755)
    shown = subprocess.run(_cli(mine, "up", "redis", "--detach"), check=True, capture_output=True, text=True).stdout
    assert str(secret.parent) in shown.replace("\n", "") and "now they cannot" in shown
    assert [path for path in (mine.home, *mine.home.rglob("*")) if path.lstat().st_mode & 0o077] == []


def test_two_at_once_are_refused_and_the_first_goes_on(mine: Platform) -> None:
    mine.up(["redis"], attached=True)
    with pytest.raises(ConflictError, match=rf"pid {os.getpid()}.*pagoda down"):
        Platform(mine.home).up(["redis"])
    assert _redis(mine).health == Health.HEALTHY
    mine.down()
    mine.up(["redis"])
    with pytest.raises(ConflictError, match="is up already"):
        Platform(mine.home).up(["redis"])
    assert _redis(mine).health == Health.HEALTHY


def test_services_can_be_added_and_taken_away(mine: Platform) -> None:
    mine.up([])
    assert _redis(mine).health == Health.STOPPED
    mine.start(["redis"])
    pid = _redis(mine).pid
    mine.start(["redis"])
    assert _redis(mine).pid == pid
    mine.stop(["redis"])
    mine.stop(["redis"])
    assert _redis(mine).health == Health.STOPPED
    with pytest.raises(ConfigError, match="no service 'rediss'; there are mlflow, milvus, redis"):
        mine.start(["rediss"])


def test_a_taken_port_stops_the_start_with_its_name(mine: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        mine.home.mkdir(parents=True)
        (mine.home / "pagoda.yaml").write_text(f"standalone: {{ports: {{mlflow: {port}}}}}")
        with pytest.raises(UnavailableError, match=rf"port {port} of mlflow is taken by .*{os.getpid()}"):
            mine.up(["mlflow"])
    assert processes_of(mine.home) == []


def test_a_service_killed_again_and_again_comes_back(mine: Platform) -> None:
    mine.up(["redis"])
    for _ in range(5):
        _wait(lambda: _redis(mine).health == Health.HEALTHY)
        psutil.Process(_redis(mine).pid).kill()
    _wait(lambda: _redis(mine).health == Health.HEALTHY)


def test_a_service_that_cannot_start_is_named_with_its_log_and_all_is_stopped(mine: Platform) -> None:
    folder = mine.layout.data("redis")
    folder.mkdir(parents=True)
    (folder / "appendonly.aof").write_text("this is no append-only file")
    with pytest.raises(UnavailableError, match=r"(?s)redis died .*redis\.log:.*Bad file format"):
        mine.up(["redis"])
    assert processes_of(mine.home) == []


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
    ],
)
def test_the_foreground_command_takes_everything_with_it(mine: Platform, number: signal.Signals) -> None:
    # As a shell starts its background jobs: Ctrl-C is for others.
    background = ["env", "--ignore-signal=INT", *_cli(mine, "up", "redis")]
    command = subprocess.Popen(background, stdout=subprocess.PIPE, text=True)
    assert command.stdout
    for line in command.stdout:
        if "The platform is up" in line:
            break
    started = processes_of(mine.home)
    command.send_signal(number)
    rest = command.stdout.read()
    assert command.wait(30) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert ("Stopped." in rest) == (number != signal.SIGKILL)
    assert wait_ended(started, 20) == []


def test_down_ends_a_foreground_command_tidily(mine: Platform) -> None:
    command = subprocess.Popen(_cli(mine, "up", "redis"), stdout=subprocess.PIPE, text=True)
    _wait(lambda: _redis(mine).health == Health.HEALTHY)
    assert subprocess.run(_cli(mine, "down"), check=True, capture_output=True, text=True).stdout == "Stopped.\n"
    out, _ = command.communicate(timeout=30)
    assert command.returncode == 0
    assert "The platform was stopped." in out


def test_a_detached_platform_is_shown_logged_and_stopped(mine: Platform) -> None:
    subprocess.run(_cli(mine, "up", "redis", "--detach"), check=True, capture_output=True)
    shown = subprocess.run(_cli(mine, "status", "--output", "json"), check=False, capture_output=True, text=True)
    by_name = {service["name"]: service for service in json.loads(shown.stdout)}
    assert (by_name["redis"]["health"], by_name["mlflow"]["health"], shown.returncode) == ("healthy", "stopped", 1)
    assert psutil.pid_exists(by_name["redis"]["pid"])
    log = subprocess.run(_cli(mine, "logs", "redis", "-n", "3"), check=True, capture_output=True, text=True).stdout
    assert "ready to accept connections" in log
    wrong = subprocess.run(_cli(mine, "logs", "nothing"), check=False, capture_output=True, text=True)
    assert (wrong.returncode, "there is no service 'nothing'" in wrong.stderr) == (1, True)
    subprocess.run(_cli(mine, "down"), check=True, capture_output=True)


def test_asking_about_a_home_that_was_never_up_writes_nothing(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "home")
    assert {service.health for service in platform.status()} == {Health.STOPPED}
    assert not platform.down()
    assert list(tmp_path.iterdir()) == []
