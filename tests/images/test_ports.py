"""TorchServe as the image starts it: the inference API on every address, everything else on loopback or a socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.integration
_START_SECONDS = 90


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def tower(tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    """TorchServe with the image's command line but for its ports, and the port of its inference API."""
    inference, metrics = _free_port(), _free_port()
    command = [
        *(sys.executable, "-m", "serving.tower"),
        *(f"--inference=http://0.0.0.0:{inference}", f"--metrics=http://127.0.0.1:{metrics}"),
        f"--store={tmp_path / 'models'}",
    ]
    environment = os.environ | {"PAGODA_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            _await(f"http://127.0.0.1:{inference}/ping", process)
            yield psutil.Process(process.pid), inference
        finally:
            process.terminate()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_only_the_inference_api_can_be_reached_from_outside(tower: tuple[psutil.Process, int]) -> None:
    process, inference = tower
    family = [process, *process.children(recursive=True)]
    sockets = [one for each in family for one in each.connections("inet") if one.status == psutil.CONN_LISTEN]
    outside = {one.laddr.port for one in sockets if not one.laddr.ip.endswith(("127.0.0.1", "::1"))}
    assert outside == {inference}
    assert len(sockets) > 1, "metrics and gRPC listen on loopback"


def test_the_inference_api_manages_nothing(tower: tuple[psutil.Process, int]) -> None:
    _, inference = tower
    asked = (("GET", "/models"), ("POST", "/models?url=x.mar"), ("DELETE", "/models/pagoda"), ("GET", "/metrics"))
    for method, path in asked:
        assert httpx.request(method, f"http://127.0.0.1:{inference}{path}").status_code in (404, 405), path
