"""Keeps one service's process: `python keeper.py service.json`. Starts it, or adopts one that runs, and ends with it.

The supervisor's children are keepers. The service itself outlives both, so that a supervisor that dies takes no request
with it: the next one's keeper finds the process by what was recorded of it. Stands alone, so that a start costs
milliseconds.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

_ADOPTION_SECONDS = 30.0
"""How long a service goes on without a supervisor before its keeper ends it."""
_LOOK_SECONDS = 1.0
_LONGEST_LOG = 10 << 20
_START_TIME = 19
"""Field 22 of /proc/PID/stat, counted from behind the name, which may hold spaces."""


class Kept(NamedTuple):
    """A service's process. With the moment of its start, a number that was given out again is no mistake."""

    pid: int
    start: int
    """In ticks since the machine started."""

    def alive(self) -> bool:
        """Whether it has not ended."""
        return _start_of(self.pid) == self.start

    @classmethod
    def now(cls, pid: int) -> "Kept":
        """A process that runs now; of one that does not, what is never alive."""
        return cls(pid, _start_of(pid) or -1)


def kept(record: Path) -> Kept | None:
    """The process that was recorded, if it is alive."""
    try:
        process = Kept(*(int(word) for word in record.read_text().split()))
    except (OSError, ValueError, TypeError):
        return None
    return process if process.alive() else None


class Keeper:
    """Keeps what a specification says, from its start or adoption to its end."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._record, self._log = Path(spec["record"]), Path(spec["log"])
        self._told, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGTERM, lambda *_: None)
        # One keeper at a time. The child of a keeper that dies between fork and exec has it too, until it is recorded.
        self._lock = os.open(spec["lock"], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def keep(self) -> int:
        """Keep the process until it ends, is to be stopped, or the supervisor dies; returns the exit status."""
        supervisor = os.getppid()
        alive = os.pidfd_open(supervisor)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if Path(self._spec["supervisor"]).read_text() != str(supervisor):
            return _complain("the supervisor died before its keeper started")
        process = kept(self._record)
        if process:
            _complain(f"pid {process.pid} goes on under supervisor {supervisor}")
        process = process or self._start()
        ended = os.pidfd_open(process.pid)
        while not (ready := _wait((ended, alive, self._told), _LOOK_SECONDS)):
            self._shorten_log()
        if ended in ready:
            return _status_of(process.pid)
        return self._stop(process, ended) if self._told in ready else self._leave(process, ended)

    def _start(self) -> Kept:
        _end_leftovers({f"{name}={value}".encode() for name, value in self._spec["marks"].items()})
        pid = os.fork()
        if pid == 0:
            self._become()
        return Kept.now(pid)

    def _become(self) -> None:
        """In the child: be recorded, then become the service."""
        try:
            # A group of its own: a signal to the supervisor's, or the keeper's, is not for it.
            os.setsid()
            pid = os.getpid()
            aside = self._record.with_suffix(f".{pid}")
            aside.write_text("{} {}".format(*Kept.now(pid)))
            aside.replace(self._record)
            os.umask(0o077)  # Other users of this machine read nothing of what it writes.
            os.chdir(self._spec["folder"])
            command = self._spec["command"]
            os.execvpe(command[0], command, {**os.environ, **self._spec["environment"], **self._spec["marks"]})  # noqa: S606 - becoming the service is the point
        except OSError as error:
            _complain(f"cannot be started: {error}")
        finally:
            os._exit(127)

    def _stop(self, process: Kept, ended: int) -> int:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(ended, signal.SIGTERM)
        if not _wait((ended,), self._spec["stop_seconds"]):
            os.killpg(process.pid, signal.SIGKILL)
            _wait((ended,), self._spec["stop_seconds"])
        self._record.unlink(missing_ok=True)
        return 0

    def _leave(self, process: Kept, ended: int) -> int:
        """Leave the process to the next supervisor's keeper. If none comes, end it: nothing would ever do so."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        deadline = time.monotonic() + _ADOPTION_SECONDS
        while not _wait((ended, self._told), _LOOK_SECONDS) and time.monotonic() < deadline:
            if not self._unclaimed():
                return 0
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        return self._stop(process, ended) if self._unclaimed() else 0

    def _unclaimed(self) -> bool:
        """Take the lock, if no other keeper has it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _shorten_log(self) -> None:
        """Begin the log anew when it is long. The service goes on writing to the same file, at its end."""
        if self._log.stat().st_size > _LONGEST_LOG:
            shutil.copyfile(self._log, f"{self._log}.1")
            os.truncate(self._log, 0)


def main() -> None:
    """Keep the service that the file describes."""
    spec = json.loads(Path(sys.argv[1]).read_bytes())
    # The service writes its log itself: a pipe to whoever keeps it would break with them.
    log = os.open(spec["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.exit(Keeper(spec).keep())


def _start_of(pid: int) -> int | None:
    """When a process started; None when there is none, or it has ended and nobody has collected it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[_START_TIME])


def _wait(descriptors: tuple[int, ...], seconds: float) -> set[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(seconds * 1000)}


def _status_of(pid: int) -> int:
    """How the process ended; of an adopted one, only that it did is known."""
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 1
    return code if code >= 0 else 128 - code


def _complain(message: str) -> int:
    # Into the service's log, where somebody will look for it.
    sys.stderr.write(f"keeper: {message}\n")
    return 1


def _end_leftovers(marks: set[bytes]) -> None:
    """Kill what an earlier process of this service left: TorchServe's workers outlive a killed server by 35 s."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marks <= set((folder / "environ").read_bytes().split(b"\0")):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue


if __name__ == "__main__":
    main()
