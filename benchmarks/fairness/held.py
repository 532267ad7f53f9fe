"""A process held to a share of one core: by a cgroup where one can be made, else by stopping it most of the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PERIOD_US = 20_000
_UNIFIED, _CPU = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")


@contextmanager
def held(module: str, *arguments: str, cores: float) -> Iterator[str]:
    """`python -m module` with so much of a core, until the block ends; what holds it."""
    child = subprocess.Popen([sys.executable, "-m", module, *arguments], stderr=subprocess.DEVNULL)
    group = _group(child.pid, cores)
    ending = threading.Event()
    holding = None if group else threading.Thread(target=_duty, args=(child.pid, cores, ending))
    if holding:
        holding.start()
    try:
        yield "cgroup" if group else "SIGSTOP and SIGCONT"
    finally:
        ending.set()
        if holding:
            holding.join()
        child.kill()
        child.wait()
        if group:
            group.rmdir()


def _group(pid: int, cores: float) -> Path | None:
    """A cgroup of that share with the process in it; None where none can be made."""
    quota = int(_PERIOD_US * cores)
    for folder, limits in (
        (_UNIFIED, {"cpu.max": f"{quota} {_PERIOD_US}"}),
        (_CPU, {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)}),
    ):
        group = folder / f"pagoda-fairness-{pid}"
        made = False
        try:
            group.mkdir()
            made = True
            if not all((group / name).exists() for name in limits):
                raise OSError("no limit of processors here")
            for name, value in limits.items():
                (group / name).write_text(value)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            if made:
                with suppress(OSError):
                    group.rmdir()
            continue
        return group
    return None


def _duty(pid: int, cores: float, ending: threading.Event) -> None:
    """Stop the process whenever it has had its share."""
    process, began, stopped = psutil.Process(pid), time.monotonic(), False
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        while not ending.wait(_PERIOD_US / 4e6):
            times = process.cpu_times()
            ahead = times.user + times.system > cores * (time.monotonic() - began)
            if ahead != stopped:
                os.kill(pid, signal.SIGSTOP if ahead else signal.SIGCONT)
                stopped = ahead
