"""A real MLflow server for tests, as Pagoda starts it: artifacts are written by the clients."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_PATIENCE_SECONDS = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A server process that can be started again on the same state and port."""

    def __init__(self, folder: Path, *options: str, scheme: str = "http", host: str = "127.0.0.1") -> None:
        self._folder, self._options = folder, options
        self.uri = f"{scheme}://{host}:{free_port()}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.uri.split(":")[-1]]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db", "--workers", "1"]
        command += ["--no-serve-artifacts", "--default-artifact-root", str(self._folder / "artifacts"), *self._options]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        self._await()

    def kill(self) -> None:
        """End it with all its workers, at once."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _await(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                httpx.get(f"{self.uri}/health").raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"MLflow did not start:\n{(self._folder / 'server.log').read_text()}")


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """A server that keeps its state in `folder`, running."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.kill()
