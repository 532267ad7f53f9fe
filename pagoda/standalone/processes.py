"""Finding and ending the processes of a platform, by a mark in their environment that all their children inherit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

HOME_MARK = "PAGODA_PLATFORM"
SERVICE_MARK = "PAGODA_SERVICE"
SUPERVISOR = "supervisor"
_KILL_SECONDS = 10.0
"""The kernel ends a killed process at once, unless it waits for a disk."""


def marks(home: Path, service: str) -> dict[str, str]:
    """Environment of a process that belongs to `service` of the platform in `home`."""
    return {HOME_MARK: str(home), SERVICE_MARK: service}


def processes_of(home: Path, service: str | None = None) -> list[psutil.Process]:
    """The living processes of the platform in `home`, whoever their parent is now; only those of `service` if given.

    Unlike recorded process IDs, the mark cannot point at somebody else's process.
    """
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and environment.get(HOME_MARK) == str(home) and service in (None, environment.get(SERVICE_MARK)):
            found.append(process)
    return found


def end_processes(processes: Iterable[psutil.Process], patience_seconds: float) -> None:
    """Ask the processes to end, and kill those that have not after `patience_seconds`."""
    living = list(processes)
    for process in living:
        _signal(process.terminate)
    _, living = psutil.wait_procs(living, patience_seconds)
    for process in living:
        _signal(process.kill)
    psutil.wait_procs(living, _KILL_SECONDS)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return
