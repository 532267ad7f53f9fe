"""The supervisor (supervisord): keeps services running, restarts those that die, stops them together."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from pagoda.errors import UnavailableError
from pagoda.standalone import launch
from pagoda.standalone.layout import Layout
from pagoda.standalone.processes import SUPERVISOR, marks
from pagoda.standalone.service import Service

_GROUP = "pagoda"
_START_SECONDS = 20.0
_POLL_SECONDS = 0.05
_PRIVATE = 0o600


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor knows of one service."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF (died, will be tried again), STOPPING, EXITED, FATAL (given up)."""
    pid: int
    """0: no process."""
    started: int
    """Seconds since the epoch."""
    problem: str
    """Why it could not be started or how it ended."""


class Supervisor:
    """The supervisor process of one installation."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = layout.sockets / "supervisor.sock"
        self._config = layout.run / "supervisord.conf"

    def start(self, services: Sequence[Service], *, bound: bool) -> subprocess.Popen[bytes]:
        """Start the supervisor with all services stopped.

        Args:
            services: All that it may be asked to run.
            bound: Whether it ends when this process does.

        Raises:
            UnavailableError: It does not come up.
        """
        self._write_config(services)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._config)]
        spec = self._write_launch(SUPERVISOR, command, self._layout.home, {}, bound=bound)
        complaints = self._layout.run / "supervisord.out"
        with complaints.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is for us, who then stop it in good order.
            process = subprocess.Popen(
                _launcher(spec), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise UnavailableError(f"the supervisor does not start:\n{complaints.read_text()}")
            time.sleep(_POLL_SECONDS)
        return process

    def answers(self) -> bool:
        """Whether it takes calls now."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except UnavailableError:
            return False

    def start_service(self, name: str) -> None:
        """Start one service, without waiting; what goes wrong shows in its state."""
        try:
            self._call("startProcess", f"{_GROUP}:{name}", False)
        except xmlrpc.client.Fault as fault:
            raise UnavailableError(f"{name} cannot be started: {fault.faultString}") from fault

    def stop_service(self, name: str) -> None:
        """Stop one service and wait until it has ended; nothing happens when it does not run."""
        try:
            self._call("stopProcess", f"{_GROUP}:{name}", True)
        except xmlrpc.client.Fault:
            # Not running: that is what was asked for.
            return

    def states(self) -> dict[str, ProcessState]:
        """The state of every service by name."""
        return {entry["name"]: _state(entry) for entry in self._call("getAllProcessInfo")}

    def shut_down(self) -> None:
        """Ask it to stop all services at once and to end; does not wait."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        server = xmlrpc.client.ServerProxy("http://supervisor", transport=transport)
        try:
            return getattr(server.supervisor, method)(*arguments)
        except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
            raise UnavailableError(f"the supervisor at {self._socket} does not answer ({error})") from error
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise UnavailableError("the supervisor is shutting down") from fault
            raise
        finally:
            transport.close()

    def _write_config(self, services: Sequence[Service]) -> None:
        sections = [
            f"[supervisord]\nidentifier=pagoda\nsilent=true\nlogfile={_escaped(self._layout.log(SUPERVISOR))}\n"
            f"logfile_maxbytes=1MB\nlogfile_backups=1\npidfile={_escaped(self._layout.run / 'supervisord.pid')}",
            f"[unix_http_server]\nfile={_escaped(self._socket)}\nchmod=0600",
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            # One group: its members are told to stop at once, not one after another.
            f"[group:{_GROUP}]\nprograms={','.join(service.name for service in services)}",
            *(self._program(service) for service in services),
        ]
        self._config.write_text("\n\n".join(sections) + "\n")

    def _program(self, service: Service) -> str:
        environment = {"PAGODA_HOME": str(self._layout.home), "PYTHONUNBUFFERED": "1", **service.environment}
        spec = self._write_launch(service.name, service.command, service.folder, environment, bound=True)
        command = " ".join(f'"{_escaped(word)}"' for word in _launcher(spec))
        return (
            f"[program:{service.name}]\ncommand={command}\nautostart=false\nautorestart=true\n"
            # It must live for 5 s to count as started; one that dies sooner, again and again, is tried after
            # 1, 2, 3 … s and given up when that has taken three minutes.
            "startsecs=5\nstartretries=20\n"
            f"stopwaitsecs={service.stop_seconds}\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={_escaped(self._layout.log(service.name))}\n"
            "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=1"
        )

    def _write_launch(
        self, name: str, command: Sequence[str], folder: Path, environment: dict[str, str], *, bound: bool
    ) -> Path:
        path = self._layout.run / f"{name}.json"
        content = {
            "command": list(command),
            "folder": str(folder),
            "environment": environment,
            "marks": marks(self._layout.home, name),
            "bound": bound,
        }
        # The environment may hold a password.
        path.touch(_PRIVATE)
        path.write_text(json.dumps(content, indent=1))
        return path


def _launcher(spec: Path) -> list[str]:
    # Without site-packages and the caller's Python settings it starts in 20 ms.
    return [sys.executable, "-I", "-S", str(Path(launch.__file__)), str(spec)]


def _state(entry: dict[str, Any]) -> ProcessState:
    problem = entry["spawnerr"] or (f"exit status {entry['exitstatus']}" if entry["exitstatus"] else "")
    return ProcessState(entry["name"], entry["statename"], entry["pid"], entry["start"], problem)


def _escaped(value: str | Path) -> str:
    """Text for the configuration, where % begins an expansion."""
    return str(value).replace("%", "%%")
