"""Whether a service hangs. It is judged by its answers: a process that lives and answers nobody serves nobody."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from pagoda.standalone.servers.health import Silence
from pagoda.standalone.servers.service import Service
from pagoda.standalone.supervision.keeper import Kept

_SILENT_SECONDS = 10.0
_BUSY_SECONDS = 60.0
"""For one that computes meanwhile: a machine that is too small makes servers slow, and to kill them makes it worse."""
_BUSY_SHARE = 0.01
"""Of one core: what works gets more even where others take all, and the timers of what hangs need less."""
_FEWEST_ASKED = 3
"""A machine that slept, or whoever asks, must not take its own absence for another's."""


@dataclass
class _Silent:
    since: float
    cpu_seconds: float
    asked: int = 1


class Pulse:
    """Follows one service, from one look to the next."""

    def __init__(self, service: Service) -> None:
        self._service, self.name = service, service.name
        self._process: Kept | None = None
        self._answered = False
        self._silent: _Silent | None = None

    def look(self, process: Kept) -> str | None:
        """Ask the service once; says why it is to be killed, where it is."""
        if process != self._process:
            self._process, self._answered, self._silent = process, False, None
        try:
            family = psutil.Process(process.pid)
            # A service without an address cannot be asked; of one that is suspended there is no doubt.
            if family.status() == psutil.STATUS_STOPPED:
                return self._judged("it is suspended", _cpu_seconds(family))
            problem = self._service.healthy()
            if not isinstance(problem, Silence):
                self._answered, self._silent = True, None
                return None
            if not self._answered and time.time() - family.create_time() < self._service.start_seconds:
                return None
            return self._judged(problem, _cpu_seconds(family))
        except psutil.Error:
            # It ended meanwhile; its keeper sees to that.
            return None

    def _judged(self, problem: str, cpu_seconds: float) -> str | None:
        now = time.monotonic()
        if self._silent is None:
            self._silent = _Silent(now, cpu_seconds)
            return None
        self._silent.asked += 1
        seconds = now - self._silent.since
        busy = cpu_seconds - self._silent.cpu_seconds > seconds * _BUSY_SHARE
        if seconds < (_BUSY_SECONDS if busy else _SILENT_SECONDS) or self._silent.asked < _FEWEST_ASKED:
            return None
        return f"{problem}, for {seconds:.0f} s"


def _cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
