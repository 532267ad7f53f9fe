"""The driver as a process: it runs without servers as long as nothing is rolled out, and ends when told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pagoda.generations.release_log import ReleaseLog

from .worlds import add_full

NOWHERE = {
    "PAGODA_MILVUS__URI": "http://127.0.0.1:1",
    "PAGODA_TOWER__RUNTIME": "in_process",
    "PAGODA_REDIS__URL": "redis://127.0.0.1:1/0",
}


def drive(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pagoda.cli", "rollout", "drive", "--backend", "local", "--home", str(home)]
    return subprocess.Popen(command, env={**os.environ, **NOWHERE}, stderr=subprocess.PIPE, text=True)


@pytest.mark.integration
def test_two_drivers_follow_one_log_and_end_when_told(tmp_path: Path) -> None:
    add_full(ReleaseLog(str(tmp_path / "log")), 1)
    drivers = [drive(tmp_path) for _ in range(2)]
    memory, deadline = tmp_path / "rollout" / "applied", time.monotonic() + 90
    while not memory.exists() or not memory.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert int(memory.read_text()) == ReleaseLog(str(tmp_path / "log")).state().head
    for driver in drivers:
        driver.send_signal(signal.SIGTERM)
    for driver in drivers:
        told = driver.communicate(timeout=90)[1]
        assert driver.returncode in (0, -signal.SIGTERM) and "Traceback" not in told


@pytest.mark.long
@pytest.mark.integration
def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    from orjson import loads

    command = [sys.executable, "-m", "demos.rollout", "--folder", str(tmp_path / "demo")]
    # As a user runs it: the deadlines of the tests are longer than the patience of the world's users.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAGODA_")}
    subprocess.run(command, check=True, timeout=1200, env=environment)
    report = loads((tmp_path / "demo" / "report.json").read_bytes())
    assert {name: one["outcome"] for name, one in report["scenarios"].items()} == {
        "good": "promoted",
        **dict.fromkeys(("damaged_items", "fewer_clicks", "slow", "failing", "stale_neighbours"), "rolled_back"),
    }
    assert report["aa"]["runs"] == 200
