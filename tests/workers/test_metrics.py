"""What workers tell Prometheus."""

from __future__ import annotations

import socket
import time

import httpx
import pytest
from prometheus_client import REGISTRY

from pagoda.errors import UnavailableError
from pagoda.telemetry.endpoint import serve_metrics
from serving.workers.metrics import Counted


class Moody:
    """A worker that fails when it is told to."""

    fails = False

    def step(self) -> str:
        if self.fails:
            raise UnavailableError("the store is away")
        return "done"


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_steps_are_counted_by_how_they_ended_and_pass_on_what_they_say() -> None:
    worker = Moody()
    counted = Counted(worker, "moody")
    assert counted.step() == "done"
    worker.fails = True
    with pytest.raises(UnavailableError):
        counted.step()
    assert _value("pagoda_worker_steps_total", worker="moody", outcome="ok") == 1
    assert _value("pagoda_worker_steps_total", worker="moody", outcome="failed") == 1
    assert _value("pagoda_worker_last_success_timestamp_seconds", worker="moody") > 0


def test_a_worker_that_never_does_its_work_is_missed() -> None:
    worker = Moody()
    worker.fails = True
    counted = Counted(worker, "gloomy")
    with pytest.raises(UnavailableError):
        counted.step()
    assert time.time() - _value("pagoda_worker_last_success_timestamp_seconds", worker="gloomy") < 60


def test_prometheus_is_answered_on_the_port_that_was_asked_for() -> None:
    serve_metrics(0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"port {port}"):
            serve_metrics(port)
    serve_metrics(port)
    for address in ("127.0.0.1", "[::1]"):
        assert "pagoda_worker_steps_total" in httpx.get(f"http://{address}:{port}/metrics").text, address
