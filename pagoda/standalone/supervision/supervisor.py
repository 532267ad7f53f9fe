"""The supervisor (supervisord): keeps services running, restarts those that die, stops them together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil
from supervisor.xmlrpc import Faults

from pagoda.errors import UnavailableError
from pagoda.standalone.layout import Layout
from pagoda.standalone.servers.service import Service
from pagoda.standalone.supervision.calls import ShuttingDownError, call
from pagoda.standalone.supervision.configuration import GROUP, Configuration
from pagoda.standalone.supervision.keeper import Kept, kept
from pagoda.standalone.supervision.lock import HomeLock
from pagoda.standalone.supervision.processes import GUARDIAN, SUPERVISOR, marks, processes_of

_START_SECONDS = 20.0
_STOP_SECONDS = 120.0
_SUCCESSION_SECONDS = 15.0
"""How long a call waits for the one that takes a dead supervisor's place."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor knows of one service."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF (died, will be tried again), STOPPING, EXITED, FATAL (given up)."""
    pid: int
    """0: no process."""
    keeper: int
    """Its keeper's process, a new one for each of its lives; 0: none."""
    started: float
    """Seconds since the epoch."""
    problem: str
    """Why it could not be started or how it ended."""


class Supervisor:
    """The supervisor process of one installation."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._configuration = Configuration(layout)
        self._output = layout.run / "supervisord.out"
        self._wanted = layout.run / "wanted"
        self._leaving = layout.run / "leaving"
        self.lock = HomeLock(self._configuration.lock, "the platform in {home} is up already (supervisor pid {pid})")
        """Held by the supervisor as long as it lives. Taken before it is started, and handed on to it."""

    def start(self, services: Sequence[Service], owner: Kept | None) -> subprocess.Popen[bytes]:
        """Start the supervisor with all services stopped.

        Args:
            services: All that it may be asked to run.
            owner: The process that it ends with, if any.

        Raises:
            ConflictError: There is one.
            UnavailableError: It does not come up.
        """
        lock = self.lock.acquire()
        shutil.rmtree(self._wanted, ignore_errors=True)
        self._wanted.mkdir()
        self._leaving.unlink(missing_ok=True)
        self._configuration.write(services, owner)
        with self._output.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is for us, who then stop it in good order.
            process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=self._layout.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[lock],
            )
        self.lock.name_holder(process.pid)
        self.lock.release()
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise UnavailableError(f"the supervisor does not start:\n{self._output.read_text()}")
            time.sleep(_POLL_SECONDS)
        return process

    def become(self) -> NoReturn:
        """Make this process, which holds the lock, the supervisor in the place of one that died."""
        self._configuration.start_at_once(self.wanted())
        # It would find out that nobody listens there, and wait.
        self._configuration.socket.unlink(missing_ok=True)
        os.set_inheritable(self.lock.acquire(), True)
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(self._layout.home)
        command = self._command()
        os.execve(command[0], command, self._environment())  # noqa: S606 - becoming it is the point

    def pid(self) -> int:
        """The process that is, or was, the supervisor; 0 before the first."""
        path = self._configuration.lock
        return int(path.read_text() or 0) if path.exists() else 0

    def leave(self) -> None:
        """Note that all is to end: nobody is to take the supervisor's place."""
        if self._layout.run.exists():
            self._leaving.touch()

    @property
    def leaving(self) -> bool:
        """Whether all is to end."""
        return self._leaving.exists()

    def answers(self) -> bool:
        """Whether it takes calls now."""
        try:
            return bool(call(self._configuration.socket, "getState")["statename"] == "RUNNING")
        except UnavailableError:
            return False

    def start_service(self, name: str) -> None:
        """Start one service, without waiting; what goes wrong shows in its state."""
        (self._wanted / name).touch()
        try:
            self._call("startProcess", f"{GROUP}:{name}", False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise UnavailableError(f"{name} cannot be started: {fault.faultString}") from fault

    def stop_service(self, name: str) -> None:
        """Stop one service and wait until it has ended; nothing happens when it does not run."""
        (self._wanted / name).unlink(missing_ok=True)
        try:
            self._call("stopProcess", f"{GROUP}:{name}", True, seconds=_STOP_SECONDS)
        except xmlrpc.client.Fault:
            # Not running: that is what was asked for.
            return

    def wanted(self) -> set[str]:
        """The services that were started and not stopped, whoever was the supervisor then."""
        return {path.name for path in self._wanted.iterdir()} if self._wanted.exists() else set()

    def process(self, service: str) -> Kept | None:
        """The process of a service, if it has one now."""
        return kept(self._configuration.record(service))

    def states(self) -> dict[str, ProcessState]:
        """The state of every service by name."""
        return {entry["name"]: self._state(entry) for entry in self._call("getAllProcessInfo")}

    def shut_down(self) -> None:
        """Ask it to stop all services at once and to end; does not wait."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object, **options: float) -> Any:
        """Call it, or the one that takes its place."""
        deadline = time.monotonic() + _SUCCESSION_SECONDS
        while True:
            try:
                return call(self._configuration.socket, method, *arguments, **options)
            except ShuttingDownError:
                raise
            except UnavailableError:
                if self.leaving or not self._expected() or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _expected(self) -> bool:
        """Whether one is, or will be, there that answers."""
        return any(processes_of(self._layout.home, service) for service in (GUARDIAN, SUPERVISOR))

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._configuration.path)]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **marks(self._layout.home, SUPERVISOR)}

    def _state(self, entry: dict[str, Any]) -> ProcessState:
        problem = entry["spawnerr"] or (f"exit status {entry['exitstatus']}" if entry["exitstatus"] else "")
        # The supervisor's child is the keeper.
        process = self.process(entry["name"]) if entry["pid"] else None
        try:
            started = psutil.Process(process.pid).create_time() if process else 0.0
        except psutil.NoSuchProcess:
            process, started = None, 0.0
        pid = process.pid if process else 0
        return ProcessState(entry["name"], entry["statename"], pid, entry["pid"], started, problem)
