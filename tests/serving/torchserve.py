"""A real TorchServe for tests, on free ports and with a private folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from serving.tower.models import TowerModels
from serving.tower.server import management_url, run_folder

START_SECONDS = 90


@dataclass(frozen=True)
class RunningTower:
    """Where a TorchServe listens."""

    process: subprocess.Popen[bytes]
    url: str
    metrics_url: str
    management_url: str
    home: Path
    tables: Path
    log: Path

    @property
    def store(self) -> Path:
        """Its folder of archives."""
        return self.home / "archives"

    def models(self) -> TowerModels:
        """The management seam."""
        return TowerModels(self.management_url, self.store)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def torchserve(home: Path) -> Iterator[RunningTower]:
    """Run `python -m serving.tower` with archives and tables below `home`, until the block ends."""
    url, metrics = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    log = home / "tower.log"
    environment = {**os.environ, "PAGODA_HOME": str(home)}
    command = [sys.executable, "-m", "serving.tower", "--inference", url, "--metrics", metrics]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(process, url, log)
        yield RunningTower(process, url, metrics, management_url(home), home, home / "tables", log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(run_folder(home), ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/ping").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"TorchServe did not start:\n{log.read_text()}")
