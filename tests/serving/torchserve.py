"""The user tower on real servers for tests, TorchServe and KServe's, on free ports and with a private folder."""

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

from pagoda.sockets import client_of
from serving.tower.kserve.models import KServeModels
from serving.tower.torchserve_models import TowerModels
from serving.tower.torchserve_process import run_folder, socket_url
from serving.workers.tower_host import Models

START_SECONDS = 240


@dataclass(frozen=True)
class RunningTower:
    """Where a server listens, and the archives and tables that it has."""

    process: subprocess.Popen[bytes]
    url: str
    home: Path
    tables: Path
    log: Path

    @property
    def client(self) -> httpx.Client:
        """For its inference API."""
        return client_of(self.url, 30)

    @property
    def store(self) -> Path:
        """Its folder of archives."""
        return self.home / "archives"

    def models(self) -> TowerModels:
        """TorchServe's management seam."""
        return TowerModels(socket_url(self.home, "management"), self.store)

    @contextmanager
    def brought(self) -> Iterator[Models]:
        """What a follower brings versions by."""
        if (run_folder(self.home) / "management.sock").exists():
            with self.models() as models:
                yield models
        else:
            yield KServeModels(self.url, self.store)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def torchserve(home: Path, *arguments: str, url: str = "") -> Iterator[RunningTower]:
    """Run `python -m serving.tower` with archives and tables below `home`, until the block ends."""
    arguments += ("--inference", url) if url else ()
    with _running("serving.tower", home, arguments, url or socket_url(home, "inference")) as running:
        yield running


@contextmanager
def kserve_tower(home: Path, *arguments: str, url: str = "") -> Iterator[RunningTower]:
    """Run `python -m serving.tower.kserve` likewise."""
    if not url:
        run_folder(home).mkdir(mode=0o700)
        url = socket_url(home, "inference")
    with _running("serving.tower.kserve", home, (*arguments, "--inference", url), url) as running:
        yield running


@contextmanager
def _running(module: str, home: Path, arguments: tuple[str, ...], url: str) -> Iterator[RunningTower]:
    log = home / "tower.log"
    environment = {**os.environ, "PAGODA_HOME": str(home)}
    command = [sys.executable, "-m", module, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(process, url, log)
        yield RunningTower(process, url, home, home / "tables", log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(run_folder(home), ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with client_of(url, 5) as client:
                if client.get("/ping").status_code == httpx.codes.OK:
                    return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the tower did not start:\n{log.read_text()}")
