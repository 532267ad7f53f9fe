"""Finding and ending the processes of a platform, by a mark in their environment that all their children inherit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

HOME_MARK = "PAGODA_PLATFORM"
SERVICE_MARK = "PAGODA_SERVICE"
SUPERVISOR = "supervisor"
GUARDIAN = "guardian"
KEEPER = "keeper"
_POLL_SECONDS = 0.05
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
        except psutil.Error:
            continue
        ours = environment.get(HOME_MARK) == str(home) and service in (None, environment.get(SERVICE_MARK))
        if ours and _alive(process):
            found.append(process)
    return found


def wait_ended(processes: Collection[psutil.Process], patience_seconds: float) -> list[psutil.Process]:
    """Wait until the processes have ended, and return those that have not after `patience_seconds`.

    A zombie has ended: in a container, nobody may ever collect it.
    """
    deadline = time.monotonic() + patience_seconds
    while living := [process for process in processes if _alive(process)]:
        if time.monotonic() > deadline:
            return living
        time.sleep(_POLL_SECONDS)
    return []


def end_processes(processes: Collection[psutil.Process], patience_seconds: float) -> None:
    """Ask the processes to end, and kill those that have not after `patience_seconds`."""
    living = list(processes)
    for process in living:
        _signal(process.terminate)
    living = wait_ended(living, patience_seconds)
    for process in living:
        _signal(process.kill)
    wait_ended(living, _KILL_SECONDS)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return
